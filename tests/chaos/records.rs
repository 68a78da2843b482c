//! What the servers' logs say: the graph's own records, and what was fenced.

use std::path::Path;

use serde_json::Value;

use crate::history::Step;

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
        let text = std::fs::read(log).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        // The last line of a process that was killed may be half a line.
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            return;
        };
        if entry["target"] == "witness" {
            self.steps.extend(step(&entry));
            return;
        }
        let message = entry["message"].as_str().unwrap_or_default();
        if FENCED.iter().any(|fenced| message.starts_with(fenced)) {
            self.fenced += 1;
        }
        if ALARMS.iter().any(|alarm| message.starts_with(alarm)) {
            self.alarms.push(line.to_owned());
        }
    }
}

fn step(entry: &Value) -> Option<Step> {
    let text = |name: &str| Some(entry[name].as_str()?.to_owned());
    Some(Step {
        run: text("run")?,
        thread: text("thread")?,
        attempt: entry["attempt"].as_u64()?,
        step: text("step")?,
        begins: entry["phase"] == "begin",
        at: entry["at"].as_f64()?,
        pid: u32::try_from(entry["pid"].as_u64()?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gives_steps_fences_and_alarms() {
        let mut records = Records::default();
        records.line(
            r#"{"level":"INFO","message":"step","run":"A","thread":"T","attempt":2,"step":"last","phase":"end","at":7.5,"pid":9,"target":"witness"}"#,
        );
        records.line(r#"{"message":"fenced: somebody else has taken the thread","target":"x"}"#);
        records.line(r#"{"message":"a panic","target":"x"}"#);
        records.line(r#"{"message":"half a li"#);
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
