//! What one seed has shown, as a line of a table; and the evidence, if it is bad.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::checker::{Kind, Verdict};
use crate::dump::Dump;
use crate::history::History;
use crate::world::World;

/// The table's head.
pub(crate) const HEAD: &str = "\
   seed  seconds  accepted  lost  overlapping  out of order  stuck  other  rolled back  attempts  \
 repeated  zombies  fenced  streams  resumed  gaps  (announced)  quiet s  interrupt->start p50 / worst s";

/// Everything that is known of a seed's storm.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    pub(crate) verdict: Verdict,
    /// Writes that were refused, as far as the workers could say so before they were killed.
    pub(crate) fenced: u64,
    /// How long it took until nothing was in flight after everything was repaired.
    pub(crate) quiet: Option<f64>,
}

impl Outcome {
    /// The line of the table.
    pub(crate) fn row(&self) -> String {
        let (verdict, figures) = (&self.verdict, &self.verdict.figures);
        let main = [
            Kind::Lost,
            Kind::Overlapping,
            Kind::OutOfOrder,
            Kind::Stuck,
            Kind::Gap,
        ];
        let other = verdict.violations.len() - verdict.count(&main);
        let starts = &figures.interrupt_to_start;
        let middle = starts.get(starts.len() / 2).copied().unwrap_or_default();
        let worst = starts.last().copied().unwrap_or_default();
        let quiet = self
            .quiet
            .map_or("never".to_owned(), |quiet| format!("{quiet:.1}"));
        format!(
            "{:>7} {:>8.0} {:>9} {:>5} {:>12} {:>13} {:>6} {other:>6} {:>12} {:>9} {:>9} {:>8} {:>7} \
             {:>8} {:>8} {:>5} {:>12} {quiet:>8} {middle:>24.3} / {worst:.2}",
            self.seed,
            self.seconds,
            figures.accepted + figures.found,
            verdict.count(&[Kind::Lost]),
            verdict.count(&[Kind::Overlapping]),
            verdict.count(&[Kind::OutOfOrder]),
            verdict.count(&[Kind::Stuck]),
            figures.rolled_back,
            figures.attempts,
            figures.repeated,
            figures.zombies,
            self.fenced,
            figures.streams,
            figures.resumed,
            verdict.count(&[Kind::Gap]),
            figures.announced,
        )
    }

    /// Why the storm proves nothing, if it does not.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let figures = &self.verdict.figures;
        let mut doubts = Vec::new();
        if self.fenced == 0 {
            doubts.push("it proves nothing: no write was fenced".to_owned());
        }
        if figures.resumed == 0 {
            doubts.push("it proves nothing: no stream was resumed".to_owned());
        }
        if figures.repeated == 0 {
            doubts.push("it proves nothing: no step was begun by a second attempt".to_owned());
        }
        doubts
    }
}

/// Writes down everything that belongs to a violation, and says where.
pub(crate) fn evidence(
    outcome: &Outcome,
    history: &History,
    dump: &Dump,
    world: &mut World,
) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("runloom-chaos-{}", outcome.seed));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for the evidence");
    let json = |name: &str, value: serde_json::Result<String>| {
        let value = value.expect("evidence encodes");
        fs::write(folder.join(name), value).expect("evidence can be written");
    };
    json(
        "verdict.json",
        serde_json::to_string_pretty(&outcome.verdict),
    );
    json("history.json", serde_json::to_string(history));
    json("dump.json", serde_json::to_string(dump));
    let faults: Vec<_> = history
        .faults
        .iter()
        .map(|fault| format!("{:.3} {}\n", fault.at, fault.what))
        .collect();
    fs::write(folder.join("faults.txt"), faults.concat()).expect("evidence can be written");
    world.keep(&folder);
    fs::write(folder.join("violations.txt"), excerpts(outcome, &folder)).expect("evidence");
    folder
}

/// Each violation with the lines of the logs that name its run.
fn excerpts(outcome: &Outcome, folder: &Path) -> String {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|kind| kind == "log") {
            let name = entry.file_name().to_string_lossy().into_owned();
            let text = fs::read(entry.path()).unwrap_or_default();
            logs.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    let mut text = String::new();
    for violation in &outcome.verdict.violations {
        let _ = writeln!(text, "{violation}");
        let Some(run) = &violation.run else {
            continue;
        };
        for (name, log) in &logs {
            for line in log.lines().filter(|line| line.contains(run.as_str())) {
                let _ = writeln!(text, "    {name}: {line}");
            }
        }
    }
    text
}
