//! Runs accepted in one round trip.
//!
//! What a run is stored with depends on its thread's metadata and configuration. These are guessed:
//! the thread is new, or as this process saw it last. The database accepts the run if the guess is
//! right and answers with what is there if it is not, so a wrong guess costs one more round trip.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use runloom_core::admission::{Admission, InFlight, admit};
use runloom_core::bus::RunChange;
use runloom_core::compose::{Composed, IfThreadMissing, NewRun, Place};
use runloom_core::database::Submission;
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::run::{MultitaskStrategy, RunStatus};
use runloom_core::thread::{Thread, ThreadFacts};
use sqlx::types::{Json, Text};

use crate::Postgres;
use crate::error::Result;
use crate::json::AsJson;
use crate::rows::ThreadRow;

/// How many threads are remembered. When there are more, all are forgotten.
const REMEMBERED: usize = 10_000;

/// What of a thread a new run depends on.
#[derive(Clone, Default)]
struct Ground {
    metadata: JsonMap,
    config: JsonMap,
}

/// The grounds of threads as this process saw them last.
#[derive(Default)]
pub(crate) struct Grounds(Mutex<HashMap<ThreadId, Ground>>);

impl Grounds {
    fn map(&self) -> MutexGuard<'_, HashMap<ThreadId, Ground>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ground to assume for a new run, none if there may be no thread.
    fn guess(&self, new: &NewRun) -> Option<Ground> {
        let seen = self.map().get(&new.thread_id).cloned();
        match new.if_thread_missing {
            IfThreadMissing::Create => seen,
            // There must be one, and most are made without anything.
            IfThreadMissing::Reject => Some(seen.unwrap_or_default()),
        }
    }

    fn note(&self, thread: ThreadId, ground: Ground) {
        let mut map = self.map();
        if map.len() >= REMEMBERED {
            map.clear();
        }
        map.insert(thread, ground);
    }
}

/// The answer to a guess.
struct Answer {
    verdict: String,
    moment: Option<DateTime<Utc>>,
    place: Option<i64>,
    accepted: Option<DateTime<Utc>>,
    wakes: Option<bool>,
    known_metadata: Option<Json<JsonMap>>,
    known_config: Option<Json<JsonMap>>,
}

impl Postgres {
    /// Accepts a run in one round trip. None if that takes more, with nothing changed.
    pub(crate) async fn submit_in_one(&self, new: &NewRun) -> Result<Option<Submission>> {
        if new.delay > TimeDelta::zero() {
            return Ok(None);
        }
        let mut ground = self.grounds.guess(new);
        for _ in 0..2 {
            let composed = compose(new, ground.as_ref());
            let answer = self.try_submission(new, ground.as_ref(), &composed).await?;
            match answer.verdict.as_str() {
                "accepted" => return Ok(self.accepted(new, composed, &answer)),
                "differs" => {
                    let known = answer.known_metadata.zip(answer.known_config);
                    ground = known.map(|(metadata, config)| Ground {
                        metadata: metadata.0,
                        config: config.0,
                    });
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn accepted(&self, new: &NewRun, composed: Composed, answer: &Answer) -> Option<Submission> {
        let now = answer.moment?;
        let place = Place {
            seq: answer.place?,
            accepted_at: answer.accepted?,
        };
        let ground = Ground {
            metadata: composed.thread_metadata,
            config: composed.thread_config,
        };
        self.grounds.note(new.thread_id, ground);
        let run = new.accepted(composed.metadata, composed.kwargs, place, now);
        let effects = Effects {
            changes: vec![RunChange {
                thread_id: run.thread_id,
                run_id: run.id,
                status: Some(run.status),
            }],
            signals: Vec::new(),
            wakes: answer.wakes?.then_some(run.thread_id).into_iter().collect(),
        };
        Some(Submission::Accepted(Box::new(run), effects))
    }

    async fn try_submission(
        &self,
        new: &NewRun,
        ground: Option<&Ground>,
        composed: &Composed,
    ) -> Result<Answer> {
        let text = |map: &JsonMap| serde_json::to_string(map);
        let busy = ThreadFacts {
            in_flight: true,
            failed: false,
            unfinished: false,
        };
        let mut session = self.statement().await?;
        let answer = sqlx::query_as!(
            Answer,
            r#"select verdict as "verdict!", moment, place, accepted, wakes,
                known_metadata as "known_metadata: _", known_config as "known_config: _"
            from submit_run(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
            )"#,
            new.thread_id.0,
            ground.map(|ground| text(&ground.metadata)).transpose()?,
            ground.map(|ground| text(&ground.config)).transpose()?,
            minds_others(new.multitask_strategy),
            AsJson(&composed.thread_metadata) as _,
            AsJson(&composed.thread_config) as _,
            new.kwargs.temporary,
            Text(busy.status()) as _,
            new.id.0,
            new.assistant.id.0,
            new.assistant.graph_id.0,
            Text(RunStatus::Pending) as _,
            AsJson(&composed.metadata) as _,
            AsJson(&composed.kwargs) as _,
            Text(new.multitask_strategy) as _,
            AsJson(&new.policy) as _,
            self.set_time()
        );
        let answer = answer.fetch_one(&mut session).await?;
        session.commit().await?;
        Ok(answer)
    }
}

/// Completes the run for a thread with that ground.
fn compose(new: &NewRun, ground: Option<&Ground>) -> Composed {
    let thread = ground.map(|ground| Thread {
        config: ground.config.clone(),
        ..ThreadRow::new(new.thread_id, ground.metadata.clone(), DateTime::UNIX_EPOCH).thread
    });
    new.compose(thread.as_ref())
}

/// Whether a new run with this strategy is refused, or changes others, beside any that are in flight.
fn minds_others(strategy: MultitaskStrategy) -> bool {
    let run = |running| InFlight {
        id: RunId(sqlx::types::Uuid::nil()),
        running,
        started: running,
        has_input: true,
        cancel: None,
    };
    admit(strategy, &[run(true), run(false)]) != Admission::Accepted(Vec::new())
}
