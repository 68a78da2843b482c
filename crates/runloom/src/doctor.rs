//! `runloom doctor`: what is wrong, and what to do about it.

use std::io::Write as _;

use runloom_core::checkup::{Finding, Grade};

use crate::cli::Doctor;
use crate::wiring;

/// Checks everything and prints a line for each finding. Ends the process with 1 if something must
/// be mended.
pub(crate) async fn run(args: &Doctor) -> anyhow::Result<()> {
    let findings = wiring::check(&args.database, &args.nats).await?;
    let mut out = std::io::stdout();
    for finding in &findings {
        writeln!(out, "{}", line(finding))?;
    }
    if findings.iter().any(|finding| finding.grade == Grade::Fail) {
        std::process::exit(1);
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let grade = match finding.grade {
        Grade::Ok => "ok  ",
        Grade::Warn => "warn",
        Grade::Fail => "FAIL",
    };
    if finding.advice.is_empty() {
        return format!("{grade} {}", finding.what);
    }
    format!("{grade} {} — {}", finding.what, finding.advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_it_is_and_what_to_do() {
        let found = Finding::warn("the clock is late", "set it");
        assert_eq!(line(&found), "warn the clock is late — set it");
        assert_eq!(line(&Finding::ok("all is well")), "ok   all is well");
    }
}
