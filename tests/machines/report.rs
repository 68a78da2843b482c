//! The figures that the scenarios measure: printed, and kept in a file for `make test` to show.

use std::path::Path;

/// Says one line of a scenario.
#[expect(clippy::print_stdout, reason = "the figures are for people")]
pub(crate) fn report(scenario: &str, figures: &str) {
    println!("{scenario}: {figures}");
    let file = format!("machines-{}.txt", scenario.replace(' ', "-"));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&file, format!("{scenario}: {figures}\n")).expect("a report can be written");
}

/// The middle and the largest of some times in seconds.
pub(crate) fn middle_and_worst(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let middle = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
    (middle, times.last().copied().unwrap_or(f64::NAN))
}
