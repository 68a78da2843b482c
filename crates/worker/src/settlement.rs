//! Puts together how a run is left: its status, the thread's head, what is kept of unfinished work.

use runloom_core::checkpoint::CheckpointTuple;
use runloom_core::database::{Settlement, Transit};
use runloom_core::json::{Json, JsonMap};
use runloom_core::projection;
use runloom_core::run::{Run, RunError};
use runloom_core::state::Head;
use serde_json::Value;

use crate::incarnation::Incarnation;
use crate::residue::{self, Reason, Stopped};
use crate::said::Spoken;
use crate::stored;
use crate::verdict::Verdict;

/// What is known of a run at its end.
pub(crate) struct Ends<'a> {
    /// The worker.
    pub(crate) worker: &'a Incarnation,
    /// The run, as it was claimed.
    pub(crate) run: &'a Run,
    /// The run as it is stored now, if it was interrupted and can be read.
    pub(crate) now: Option<Run>,
    /// The checkpoint that the head names, if it was read back already.
    pub(crate) left: Option<CheckpointTuple>,
    /// The head, if the executor said where it left it and could still store it.
    pub(crate) head: Option<Head>,
    /// What was streamed of tasks that did not finish.
    pub(crate) spoken: Vec<Spoken>,
}

impl Ends<'_> {
    /// How the run is left.
    pub(crate) async fn settlement(self, verdict: Verdict) -> Settlement {
        match verdict {
            Verdict::Succeed => self.ended(Transit::Succeed, false).await,
            Verdict::Pause => self.ended(Transit::Succeed, true).await,
            Verdict::Fail(error) => Settlement {
                output: None,
                ..self.ended(Transit::Fail(error), false).await
            },
            Verdict::TimeOut => {
                let error = RunError::new("TimeoutError", "the run took longer than it may");
                self.stopped(Transit::TimeOut(error), Reason::Timeout).await
            }
            Verdict::Interrupt => {
                let now = self.now.as_ref();
                let reason = now.map_or(Reason::Stopped, Reason::of_interrupted);
                self.stopped(Transit::Interrupt, reason).await
            }
            // The run is about to be deleted, so nothing is kept of it.
            Verdict::Discard => bare(Transit::Interrupt),
            Verdict::HandBack => bare(Transit::HandBack),
            Verdict::Retry(error) => bare(Transit::Retry(self.retry_delay(), error)),
        }
    }

    async fn ended(self, transit: Transit, paused: bool) -> Settlement {
        let head = match self.head {
            Some(head) => Some(head),
            None => stored::head(self.worker, self.run).await,
        };
        Settlement {
            output: head.as_ref().map(|head| output(head, paused)),
            head,
            ..bare(transit)
        }
    }

    async fn stopped(self, transit: Transit, reason: Reason) -> Settlement {
        let info = self.worker.ports.registry.info(&self.run.graph_id);
        let channel = info
            .as_ref()
            .and_then(|info| info.messages_channel.as_deref());
        let exact = self.head.is_some();
        let mut head = match self.head {
            Some(head) => head,
            None => match stored::head(self.worker, self.run).await {
                Some(head) => head,
                None => return self.stopped_unseen(transit, reason, channel).await,
            },
        };
        let thread = self.run.thread_id;
        let tuple = match (&head.checkpoint_id, self.left) {
            (Some(id), Some(left)) if left.checkpoint.id == *id => Some(left),
            (Some(id), _) => stored::checkpoint(self.worker, thread, Some(id)).await,
            (None, _) => None,
        };
        let left_before = tuple
            .as_ref()
            .is_some_and(|tuple| tuple.writes.iter().any(residue::is_residue));
        if exact && left_before {
            // A resume does not see what an earlier stop left on this head; readers do.
            head = stored::head(self.worker, self.run).await.unwrap_or(head);
        }
        let residue = residue::of(Stopped {
            run: self.run,
            reason,
            channel,
            spoken: &self.spoken,
            head,
            stored: tuple.as_ref(),
            exact,
        });
        Settlement {
            output: Some(output(&residue.head, false)),
            head: Some(residue.head),
            residue: residue.writes,
            interrupted_output: residue.said,
            ..bare(transit)
        }
    }

    /// Nobody can say now where the graph stands, so what the thread shows stays as it was. What the run
    /// had said is kept all the same, beside the latest checkpoint, unless that cannot be read either.
    async fn stopped_unseen(
        &self,
        transit: Transit,
        reason: Reason,
        channel: Option<&str>,
    ) -> Settlement {
        let thread = self.run.thread_id;
        let Some(tuple) = stored::checkpoint(self.worker, thread, None).await else {
            return Settlement {
                interrupted_output: residue::record(self.run, reason, &self.spoken),
                ..bare(transit)
            };
        };
        let residue = residue::of(Stopped {
            run: self.run,
            reason,
            channel,
            spoken: &self.spoken,
            head: Head {
                checkpoint_id: Some(tuple.checkpoint.id.clone()),
                values: Json::from_value(&Value::Object(projection::values(&tuple))),
                next: Vec::new(),
                interrupts: JsonMap::new(),
            },
            stored: Some(&tuple),
            exact: false,
        });
        Settlement {
            residue: residue.writes,
            interrupted_output: residue.said,
            ..bare(transit)
        }
    }

    /// How long to wait before the next attempt.
    fn retry_delay(&self) -> std::time::Duration {
        let config = &self.worker.config;
        let doublings = self.run.attempt.saturating_sub(1).min(20);
        let delay = config.retry_first.saturating_mul(1 << doublings);
        delay.min(config.retry_longest)
    }
}

/// A settlement that says nothing but what becomes of the run.
pub(crate) fn bare(transit: Transit) -> Settlement {
    Settlement {
        transit,
        head: None,
        residue: None,
        output: None,
        interrupted_output: None,
    }
}

/// What `wait` and `join` answer: the values and, if the run waits for a human, what it asks.
fn output(head: &Head, paused: bool) -> Json {
    let asked = head.interrupts.values();
    let asked: Vec<_> = asked
        .filter_map(Value::as_array)
        .flatten()
        .cloned()
        .collect();
    if !paused || asked.is_empty() {
        return head.values.clone();
    }
    let Ok(mut values) = head.values.parse::<JsonMap>() else {
        return head.values.clone();
    };
    values.insert("__interrupt__".to_owned(), Value::Array(asked));
    Json::from_value(&Value::Object(values))
}
