//! What a session found, as a page and a chart.

mod chart;
mod markdown;
mod number;
mod session;
mod shown;
mod targets;

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};

use crate::ReportArgs;
use crate::results::{Case, Results};
use number::number;
use session::Session;
use shown::shown;

/// Writes the page and the chart.
pub(crate) fn write(args: &ReportArgs) -> anyhow::Result<()> {
    let session = Session::of(Results::read_all(&args.json)?);
    ensure!(!session.servers().is_empty(), "no results of any server");
    // Remarks are somebody's work: without them the page would look complete and not be.
    let remarks = std::fs::read_to_string(&args.remarks);
    let remarks = remarks.with_context(|| format!("cannot read {}", args.remarks.display()))?;
    for (file, text) in [
        (&args.markdown, markdown::page(&session, &remarks)),
        (&args.chart, chart::svg(&session)),
    ] {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A case in one line.
pub(crate) fn line(case: &Case) -> String {
    let mut line = format!("{:<16}", case.name);
    for column in shown(&case.name) {
        if let Some(figure) = case.figure(column.figure) {
            let value = number(figure.median * column.scale);
            let _ = write!(line, " {} {value}{};", column.title, column.unit);
        }
    }
    if let Some((wrong, samples)) = case.wrong()
        && wrong > 0.0
    {
        let _ = write!(line, " WRONG {} of {};", number(wrong), number(samples));
    }
    if let Some(reason) = &case.failed {
        let _ = write!(line, " FAILED: {reason}");
    }
    line.trim_end_matches(';').to_owned()
}

#[cfg(test)]
mod tests;
