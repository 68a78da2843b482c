//! What the servers' logs say: the graph's own records, and what was fenced.

use std::path::Path;

use runloom_tests::witness::{self, Step};
use serde_json::Value;

/// What is of interest in a log.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) steps: Vec<Step>,
    /// Lines by which a worker says that something of it was fenced.
    pub(crate) fenced: u64,
    /// Panics and refused settlements: nothing that may happen.
    pub(crate) alarms: Vec<String>,
}

/// What a worker says when the database has refused what it wanted to write.
const FENCED: [&str; 2] = [
    "fenced: somebody else has taken the thread",
    "the lease was taken",
];

/// What may never be said.
const ALARMS: [&str; 2] = ["a panic", "the database refused a settlement"];

impl Records {
    /// Adds those of one log, which several processes may have written one after the other.
    pub(crate) fn read(&mut self, log: &Path) {
        for entry in witness::entries(log) {
            self.add(&entry);
        }
    }

    fn add(&mut self, entry: &Value) {
        if let Some(step) = Step::of(entry) {
            self.steps.push(step);
            return;
        }
        let message = entry["message"].as_str().unwrap_or_default();
        if FENCED.iter().any(|fenced| message.starts_with(fenced)) {
            self.fenced += 1;
        }
        if ALARMS.iter().any(|alarm| message.starts_with(alarm)) {
            self.alarms.push(entry.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gives_steps_fences_and_alarms() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let lines = [
            r#"{"level":"INFO","message":"step","run":"A","thread":"T","attempt":2,"step":"last","phase":"end","at":7.5,"pid":9,"target":"witness"}"#,
            r#"{"message":"fenced: somebody else has taken the thread","target":"x"}"#,
            r#"{"message":"a panic","target":"x"}"#,
            r#"{"message":"half a li"#,
        ];
        std::fs::write(&log, lines.join("\n")).unwrap();
        let mut records = Records::default();
        records.read(&log);
        let expected = Step {
            run: "A".into(),
            thread: "T".into(),
            attempt: 2,
            step: "last".into(),
            begins: false,
            at: 7.5,
            pid: 9,
        };
        assert_eq!(records.steps, [expected]);
        assert_eq!((records.fenced, records.alarms.len()), (1, 1));
    }
}
