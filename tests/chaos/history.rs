//! What was seen from outside while the storm lasted: by the clients, by the graph, by whoever made
//! the faults. All times are seconds since the machine was started, by one clock.

use std::collections::BTreeMap;

pub(crate) use runloom_tests::witness::{Step, now};

/// Everything that was seen.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct History {
    /// Requests for runs.
    pub(crate) creations: Vec<Creation>,
    /// Requests to stop a run.
    pub(crate) cancels: Vec<Cancel>,
    /// Runs as clients read them.
    pub(crate) sightings: Vec<Sighting>,
    /// Runs whose end clients waited for.
    pub(crate) joins: Vec<Join>,
    /// Streams as clients read them.
    pub(crate) readings: Vec<Reading>,
    /// What the graph did.
    pub(crate) steps: Vec<Step>,
    /// When which process was stopped and continued.
    pub(crate) pauses: Vec<Pause>,
    /// Every fault, for people.
    pub(crate) faults: Vec<Fault>,
}

impl History {
    /// Adds what another one saw.
    pub(crate) fn extend(&mut self, other: Self) {
        self.creations.extend(other.creations);
        self.cancels.extend(other.cancels);
        self.sightings.extend(other.sightings);
        self.joins.extend(other.joins);
        self.readings.extend(other.readings);
        self.steps.extend(other.steps);
        self.pauses.extend(other.pauses);
        self.faults.extend(other.faults);
    }

    /// The runs that were certainly accepted, with the requests for them.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = (&str, &Creation)> {
        self.creations
            .iter()
            .filter_map(|creation| match &creation.answer {
                Answer::Accepted(run) => Some((run.as_str(), creation)),
                Answer::Refused(_) | Answer::Unknown(_) => None,
            })
    }

    /// The graph's records by run.
    pub(crate) fn steps_of_runs(&self) -> BTreeMap<&str, Vec<&Step>> {
        let mut runs: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
        for step in &self.steps {
            runs.entry(&step.run).or_default().push(step);
        }
        for steps in runs.values_mut() {
            steps.sort_by(|a, b| a.at.total_cmp(&b.at));
        }
        runs
    }
}

/// What becomes of the runs in flight when a run is created; a cancel has the same two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Strategy {
    Enqueue,
    Interrupt,
    Rollback,
    Reject,
}

/// A request for a run.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Creation {
    pub(crate) thread: String,
    /// Names the request: it is the text of its message, and in its metadata.
    pub(crate) mark: String,
    pub(crate) strategy: Strategy,
    /// How many steps the run takes before its last answer.
    pub(crate) steps: usize,
    pub(crate) asked: f64,
    pub(crate) answered: f64,
    pub(crate) answer: Answer,
}

/// What a client knows of its request.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) enum Answer {
    /// The run exists.
    Accepted(String),
    /// It certainly does not, with the status of the response.
    Refused(u16),
    /// The answer was lost, or says that nobody knows.
    Unknown(String),
}

/// A request to stop a run.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Cancel {
    pub(crate) run: String,
    pub(crate) action: Strategy,
    pub(crate) asked: f64,
    pub(crate) answered: f64,
    /// The status of the response, if there was one.
    pub(crate) code: Option<u16>,
}

impl Cancel {
    /// Whether it may have had an effect.
    pub(crate) fn may_hold(&self) -> bool {
        self.code.is_none_or(|code| !(400..500).contains(&code))
    }
}

/// A run as a client read it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Sighting {
    pub(crate) run: String,
    pub(crate) asked: f64,
    pub(crate) answered: f64,
    /// Its status; `None` if there is no such run.
    pub(crate) status: Option<String>,
}

/// A client waited for a run and was told that it is over.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Join {
    pub(crate) run: String,
    pub(crate) answered: f64,
}

/// Whether a run with this status is over.
pub(crate) fn is_terminal(status: &str) -> bool {
    !matches!(status, "pending" | "running")
}

/// A stream, read to its end through as many connections as it took.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Reading {
    pub(crate) run: String,
    pub(crate) received: Vec<Received>,
    /// How often it went on with a `Last-Event-ID` and got more.
    pub(crate) resumed: usize,
    /// What the `end` event said.
    pub(crate) end: Option<End>,
    /// When the `end` event came.
    pub(crate) ended: f64,
    /// Why the client gave up, if it did.
    pub(crate) given_up: Option<String>,
}

/// How a stream says that its run ended.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct End {
    /// `None` if the run was rolled back.
    pub(crate) status: Option<String>,
}

/// What came out of a stream.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) enum Received {
    /// An event, by its id.
    Event {
        millis: u64,
        number: u64,
        name: String,
        /// What a step said of itself: attempt and step.
        step: Option<(u64, String)>,
    },
    /// The server says that something is missing here.
    Announced(String),
    /// The connection ended; the next one went on after this.
    Resumed,
}

/// A process was stopped and continued.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Pause {
    pub(crate) pid: u32,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// What was done to the servers, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Fault {
    pub(crate) at: f64,
    pub(crate) what: String,
}
