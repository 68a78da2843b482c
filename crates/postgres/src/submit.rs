//! Runs accepted in one round trip.
//!
//! What a run is stored with depends on its thread's metadata and configuration. These are guessed:
//! the thread is new, or as this process saw it last. The database accepts the run if the guess is
//! right and answers with what is there if it is not, so a wrong guess costs one more round trip.

use std::collections::HashMap;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use runloom_core::admission::{Admission, InFlight, action, admit, superseded_reason};
use runloom_core::bus::{RunChange, Signal};
use runloom_core::compose::{Composed, IfThreadMissing, NewRun, Place};
use runloom_core::database::Submission;
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId, WorkerId};
use runloom_core::json::JsonMap;
use runloom_core::run::{MultitaskStrategy, RunStatus};
use runloom_core::thread::{Thread, ThreadFacts, Ttl};
use sqlx::types::{Json, Text, Uuid};

use crate::Postgres;
use crate::error::Result;
use crate::json::texts;
use crate::rows::ThreadRow;
use crate::server::Server;
use crate::session::Session;
use crate::together::Request;

/// How many threads are remembered. When there are more, all are forgotten.
const REMEMBERED: usize = 4_000;

/// What of a thread a new run depends on.
#[derive(Clone, Default)]
struct Ground {
    metadata: JsonMap,
    config: JsonMap,
}

/// The grounds of threads as this process saw them last. Kept as text: maps take many times as much.
#[derive(Default)]
pub(crate) struct Grounds(Mutex<HashMap<ThreadId, [Box<str>; 2]>>);

impl Grounds {
    fn map(&self) -> MutexGuard<'_, HashMap<ThreadId, [Box<str>; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ground to assume for a new run, none if there may be no thread.
    fn guess(&self, new: &NewRun) -> Result<Option<Ground>> {
        let seen = self.map().get(&new.thread_id).cloned();
        let seen = seen.map(|texts| Ground::read(&texts)).transpose()?;
        Ok(match new.if_thread_missing {
            IfThreadMissing::Create => seen,
            // There must be one, and most are made without anything.
            IfThreadMissing::Reject => Some(seen.unwrap_or_default()),
        })
    }

    fn note(&self, thread: ThreadId, ground: &Ground) {
        let texts = ground.texts();
        let mut map = self.map();
        if map.len() >= REMEMBERED {
            map.clear();
        }
        // What is not remembered is guessed worse.
        match texts {
            Ok(texts) => map.insert(thread, texts),
            Err(_) => map.remove(&thread),
        };
    }
}

impl Ground {
    fn read([metadata, config]: &[Box<str>; 2]) -> Result<Self> {
        Ok(Self {
            metadata: serde_json::from_str(metadata)?,
            config: serde_json::from_str(config)?,
        })
    }

    fn texts(&self) -> serde_json::Result<[Box<str>; 2]> {
        let text = |map| serde_json::to_string(map).map(String::into_boxed_str);
        Ok([text(&self.metadata)?, text(&self.config)?])
    }
}

/// The answer to a guess.
pub(crate) struct Answer {
    verdict: String,
    moment: Option<DateTime<Utc>>,
    place: Option<i64>,
    accepted: Option<DateTime<Utc>>,
    wakes: Option<bool>,
    known_metadata: Option<Json<JsonMap>>,
    known_config: Option<Json<JsonMap>>,
    stopped: Option<Uuid>,
    stopped_worker: Option<Uuid>,
    stopped_claim: Option<Uuid>,
}

impl Answer {
    /// What tells the worker of a run that was asked to stop.
    fn signal(&self, strategy: MultitaskStrategy) -> Option<(WorkerId, Signal)> {
        let signal = Signal {
            run_id: self.stopped?.into(),
            claim: self.stopped_claim?.into(),
            action: action(strategy)?,
            trace: None,
        };
        Some((self.stopped_worker?.into(), signal))
    }
}

/// A run to be accepted, completed for a thread with a certain ground.
pub(crate) struct Submit {
    new: Arc<NewRun>,
    ground: Option<Ground>,
    composed: Composed,
}

impl Submit {
    /// How long the thread is kept that is made for the run. Accepted without any ground it had none.
    fn ttl(&self) -> Option<Ttl> {
        self.new.thread_ttl.filter(|_| self.ground.is_none())
    }
}

impl Request for Submit {
    type Reply = Answer;

    fn thread(&self) -> Option<ThreadId> {
        Some(self.new.thread_id)
    }

    fn bytes(&self) -> usize {
        self.new
            .kwargs
            .input
            .as_ref()
            .map_or(0, |input| input.as_str().len())
    }

    async fn carry_out(server: &Server, requests: &[Arc<Self>]) -> Result<Vec<Option<Answer>>> {
        let answers = submit(server, requests, false).await?.into_iter();
        let judged = |answer: &Answer| answer.verdict != "locked";
        Ok(answers.map(|answer| Some(answer).filter(judged)).collect())
    }
}

impl Postgres {
    /// Accepts a run in one round trip. None if that takes more, with nothing changed.
    pub(crate) async fn submit_in_one(&self, new: &NewRun) -> Result<Option<Submission>> {
        if new.delay > TimeDelta::zero() {
            return Ok(None);
        }
        let new = Arc::new(new.clone());
        let mut ground = self.grounds.guess(&new)?;
        for _ in 0..2 {
            let request = Arc::new(Submit {
                composed: compose(&new, ground.as_ref()),
                ground,
                new: new.clone(),
            });
            let together = self.submissions.ask(&self.server, request.clone()).await?;
            let alone = match together {
                Some(_) => None,
                None => submit(&self.server, slice::from_ref(&request), true)
                    .await?
                    .pop(),
            };
            let Some(answer) = together.or(alone) else {
                return Ok(None);
            };
            match answer.verdict.as_str() {
                "accepted" => return Ok(self.accepted(&request, &answer)),
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

    fn accepted(&self, request: &Submit, answer: &Answer) -> Option<Submission> {
        let now = answer.moment?;
        let place = Place {
            seq: answer.place?,
            accepted_at: answer.accepted?,
        };
        let (new, composed) = (&request.new, request.composed.clone());
        let ground = Ground {
            metadata: composed.thread_metadata,
            config: composed.thread_config,
        };
        self.grounds.note(new.thread_id, &ground);
        let run = new.accepted(composed.metadata, composed.kwargs, place, now);
        let effects = Effects {
            changes: vec![RunChange {
                thread_id: run.thread_id,
                run_id: run.id,
                status: Some(run.status),
            }],
            signals: answer.signal(new.multitask_strategy).into_iter().collect(),
            wakes: answer.wakes?.then_some(run.thread_id).into_iter().collect(),
        };
        Some(Submission::Accepted(Box::new(run), effects))
    }
}

/// Accepts runs, waiting for the locks of their threads if `patient`.
async fn submit(server: &Server, requests: &[Arc<Submit>], patient: bool) -> Result<Vec<Answer>> {
    let busy = ThreadFacts {
        in_flight: true,
        failed: false,
        unfinished: false,
    };
    let each = || requests.iter().map(|request| &*request.new);
    let composed = || requests.iter().map(|request| &request.composed);
    let grounds = || requests.iter().map(|request| request.ground.as_ref());
    let uuids = |uuid: fn(&NewRun) -> Uuid| each().map(uuid).collect::<Vec<_>>();
    let assumed_metadata = texts(grounds().map(|ground| ground.map(|ground| &ground.metadata)))?;
    let assumed_configs = texts(grounds().map(|ground| ground.map(|ground| &ground.config)))?;
    let alone = each().map(|new| minds_others(new.multitask_strategy));
    let stops = each().map(|new| action(new.multitask_strategy).map(|action| action.to_string()));
    let strategies = each().map(|new| new.multitask_strategy.to_string());
    // What gives new threads their time goes with it, so it is a transaction then.
    let lasting = requests.iter().any(|request| request.ttl().is_some());
    let mut session = if lasting {
        server.connections.change().await?
    } else {
        server.statement().await?
    };
    let answers = sqlx::query_as!(
        Answer,
        r#"select verdict as "verdict!", moment, place, accepted, wakes,
            known_metadata as "known_metadata: _", known_config as "known_config: _", stopped,
            stopped_worker, stopped_claim
        from submit_runs(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
            $20
        )"#,
        &uuids(|new| new.thread_id.0),
        &assumed_metadata as _,
        &assumed_configs as _,
        &alone.collect::<Vec<_>>(),
        &stops.collect::<Vec<_>>() as _,
        &each()
            .map(|new| superseded_reason(new.id))
            .collect::<Vec<_>>(),
        &texts(composed().map(|composed| Some(&composed.thread_metadata)))? as _,
        &texts(composed().map(|composed| Some(&composed.thread_config)))? as _,
        &each().map(|new| new.kwargs.temporary).collect::<Vec<_>>(),
        Text(busy.status()) as _,
        &uuids(|new| new.id.0),
        &uuids(|new| new.assistant.id.0),
        &each()
            .map(|new| new.assistant.graph_id.0.clone())
            .collect::<Vec<_>>(),
        Text(RunStatus::Pending) as _,
        &texts(composed().map(|composed| Some(&composed.metadata)))? as _,
        &texts(composed().map(|composed| Some(&composed.kwargs)))? as _,
        &strategies.collect::<Vec<_>>(),
        &texts(each().map(|new| Some(&new.policy)))? as _,
        server.set_time(),
        patient
    );
    let answers = answers.fetch_all(&mut session).await?;
    if lasting {
        give_time(&mut session, requests, &answers).await?;
    }
    session.commit().await?;
    Ok(answers)
}

/// Notes how long threads are kept that were made for runs.
async fn give_time(
    session: &mut Session,
    requests: &[Arc<Submit>],
    answers: &[Answer],
) -> Result<()> {
    let made = requests
        .iter()
        .zip(answers)
        .filter_map(|(request, answer)| {
            let ttl = request.ttl().filter(|_| answer.verdict == "accepted")?;
            Some((request.new.thread_id.0, ttl, answer.moment?))
        });
    let made: Vec<_> = made.collect();
    sqlx::query!(
        "insert into thread_ttls (thread_id, minutes, strategy, due_at)
        select id, minutes, strategy, made + minutes * interval '1 minute'
        from unnest($1::uuid[], $2::float8[], $3::text[], $4::timestamptz[])
            as t (id, minutes, strategy, made)",
        &made.iter().map(|(id, ..)| *id).collect::<Vec<_>>(),
        &made
            .iter()
            .map(|(_, ttl, _)| ttl.minutes)
            .collect::<Vec<_>>(),
        &made
            .iter()
            .map(|(_, ttl, _)| ttl.strategy.to_string())
            .collect::<Vec<_>>(),
        &made.iter().map(|(.., at)| *at).collect::<Vec<_>>()
    )
    .execute(session)
    .await?;
    Ok(())
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
    admit(strategy, &[in_flight(true), in_flight(false)]) != Admission::Accepted(Vec::new())
}

/// A run that nobody has asked to stop.
fn in_flight(running: bool) -> InFlight {
    InFlight {
        id: RunId(Uuid::nil()),
        running,
        started: running,
        has_input: true,
        cancel: None,
    }
}
