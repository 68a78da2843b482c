//! What is to hold once everything is quiet, whatever happened before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use runloom_tests::witness::Step;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::load::{STEPS, Talk};

/// What was found, in numbers and in words.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    pub(crate) accepted: usize,
    pub(crate) unknown: usize,
    pub(crate) put_off: usize,
    /// Accepted runs that are not there or did not succeed.
    pub(crate) lost: Vec<String>,
    /// Steps that began more than once.
    pub(crate) twice: Vec<String>,
    /// Attempts beyond the first that were counted.
    pub(crate) spent: u64,
    /// Attempts that were given back.
    pub(crate) handed_back: u64,
    pub(crate) resumed: usize,
    /// What is wrong with the streams.
    pub(crate) gaps: Vec<String>,
    /// Runs that did not come in the order of their acceptance, or at the same time as another.
    pub(crate) disorder: Vec<String>,
    /// Ends that a client saw and that are not true any more.
    pub(crate) changed: Vec<String>,
    /// Refusals that do not say when to come again.
    pub(crate) refused: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Row {
    id: String,
    status: String,
    attempt: u64,
    handed_back: u64,
}

impl Proof {
    /// Waits until no run is in flight, then compares what clients were told with what there is.
    pub(crate) async fn of(cluster: &Cluster, talks: &[Talk]) -> Self {
        cluster.quiet().await;
        let mut proof = Self::default();
        let rows = "select coalesce(json_agg(r), '[]') from \
                    (select id, status, attempt, handed_back from runs) r";
        let rows: Vec<Row> = serde_json::from_str(&cluster.sql(rows).await).expect("rows");
        let rows: BTreeMap<&str, &Row> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
        for row in rows.values() {
            proof.handed_back += row.handed_back;
            proof.spent += (row.attempt - row.handed_back).saturating_sub(1);
        }
        for talk in talks {
            proof.ends(talk, &rows);
            proof.state(cluster, talk).await;
        }
        proof.execution(&cluster.steps());
        proof
    }

    fn ends(&mut self, talk: &Talk, rows: &BTreeMap<&str, &Row>) {
        self.accepted += talk.accepted.len();
        self.unknown += talk.unknown.len();
        self.put_off += talk.put_off;
        self.refused.extend(talk.refused.clone());
        for (run, _) in &talk.accepted {
            let status = rows.get(run.as_str()).map(|row| row.status.as_str());
            if status != Some("success") {
                self.lost.push(format!("{run} is {status:?}"));
            }
        }
        for (run, end) in &talk.ends {
            let status = rows.get(run.as_str()).map(|row| row.status.as_str());
            let is_over = !matches!(end.as_str(), "pending" | "running");
            if is_over && status != Some(end) {
                self.changed
                    .push(format!("{run} was {end}, now it is {status:?}"));
            }
        }
        for (run, reading) in &talk.readings {
            self.resumed += reading.resumed;
            let faults = reading.faults(STEPS).into_iter();
            let faults = faults.chain(reading.announced.clone());
            self.gaps
                .extend(faults.map(|fault| format!("stream of {run}: {fault}")));
        }
    }

    /// The thread has every accepted input once, in order, each followed by its run's answers.
    async fn state(&mut self, cluster: &Cluster, talk: &Talk) {
        let path = format!("/threads/{}/state", talk.thread);
        let state = cluster.http().insist(&path, None).await;
        let state = state.expect("a thread has a state");
        let messages = state["values"]["messages"].as_array();
        let mut expected = talk.accepted.iter().peekable();
        let mut answers: Vec<&str> = Vec::new();
        let messages: Vec<&Value> = messages.into_iter().flatten().collect();
        for message in &messages {
            let text = message["content"].as_str().unwrap_or_default();
            if message["type"] == "human" {
                if expected.next_if(|(_, mark)| mark == text).is_none()
                    && !talk.unknown.iter().any(|mark| mark == text)
                {
                    self.disorder
                        .push(format!("{text} is out of place in {}", talk.thread));
                }
            } else {
                answers.push(text);
            }
        }
        for (run, mark) in expected {
            self.lost
                .push(format!("the input {mark} of {run} is not in its thread"));
        }
        for (run, _) in &talk.accepted {
            let own = answers.iter().filter(|answer| answer.starts_with(run));
            let steps: Vec<&str> = own.filter_map(|answer| answer.rsplit(' ').next()).collect();
            let all = (1..=STEPS).map(|step| step.to_string());
            let all: Vec<String> = all.chain(["last".to_owned()]).collect();
            if steps != all {
                self.lost
                    .push(format!("the answers of {run} are {steps:?}"));
            }
        }
    }

    /// Runs of one thread do not overlap, and no step begins twice.
    fn execution(&mut self, steps: &[Step]) {
        let mut begun = BTreeSet::new();
        let mut threads: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
        for step in steps {
            if step.begins && !begun.insert((&step.run, &step.step)) {
                self.twice.push(format!(
                    "{} of {} in attempt {}",
                    step.step, step.run, step.attempt
                ));
            }
            let order = threads.entry(&step.thread).or_default();
            if order.last().is_none_or(|(run, _)| *run != step.run) {
                if order.iter().any(|(run, _)| *run == step.run) {
                    self.disorder.push(format!(
                        "{} goes on after another run of its thread began",
                        step.run
                    ));
                }
                order.push((&step.run, step.at));
            }
        }
    }

    /// Fails unless every accepted run ended well, once and in its place, and nobody was told what is
    /// not true.
    pub(crate) fn nothing_is_lost(&self) {
        let faults = [
            ("lost", &self.lost),
            ("disorder", &self.disorder),
            ("changed", &self.changed),
            ("refused", &self.refused),
        ];
        let faults: Vec<_> = faults.iter().filter(|(_, all)| !all.is_empty()).collect();
        assert!(faults.is_empty(), "{self}\n{faults:#?}");
        assert!(
            self.accepted > 0,
            "nothing was accepted: this proves nothing"
        );
    }

    /// Fails unless every stream was whole.
    pub(crate) fn streams_are_whole(&self) {
        assert!(self.gaps.is_empty(), "{self}\n{:#?}", self.gaps);
    }

    /// Fails if a step was done again or an attempt was counted.
    pub(crate) fn nothing_is_done_twice(&self) {
        assert!(self.twice.is_empty(), "{self}\n{:#?}", self.twice);
        assert_eq!(self.spent, 0, "{self}: attempts were spent");
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "accepted {}, lost {}, out of order {}, steps twice {}, attempts spent {}, handed back {}, \
             put off {}, unknown {}, streams resumed {}, with gaps {}",
            self.accepted,
            self.lost.len(),
            self.disorder.len(),
            self.twice.len(),
            self.spent,
            self.handed_back,
            self.put_off,
            self.unknown,
            self.resumed,
            self.gaps.len()
        )
    }
}
