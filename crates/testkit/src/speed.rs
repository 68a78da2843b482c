//! How fast a database is. Measures, proves nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use runloom_core::assistant::Assistant;
use runloom_core::checkpoint::{Blob, ChannelBlob, Checkpoint, NewCheckpoint};
use runloom_core::clock::{Clock, SystemClock};
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{Database, Guard, Settlement, Transit};
use runloom_core::ids::{AssistantId, CheckpointId, ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::lease::ClaimReply;
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{MultitaskStrategy, RunKwargs};
use runloom_core::state::Head;
use serde_json::json;
use tokio::task::JoinSet;

/// How many of `runs` whole runs `database` does in a second with so many tasks, each on a thread of its
/// own at a time. A run is submitted, claimed, checkpointed once and settled.
pub async fn runs_per_second(database: Arc<dyn Database>, runs: u32, tasks: u32) -> f64 {
    let worker = WorkerId::new();
    database
        .enlist(worker, Duration::from_mins(10))
        .await
        .expect("it is enlisted");
    let left = Arc::new(AtomicU32::new(runs));
    let begin = Instant::now();
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let (database, left) = (database.clone(), left.clone());
        set.spawn(async move {
            let assistant = assistant();
            let mut thread = ThreadId::new();
            let take = |left: u32| left.checked_sub(1);
            while let Ok(n) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                whole_run(database.as_ref(), run_on(thread, &assistant), worker).await;
                if n % 8 == 0 {
                    thread = ThreadId::new();
                }
            }
        });
    }
    set.join_all().await;
    f64::from(runs) / begin.elapsed().as_secs_f64()
}

/// Whoever it is.
pub(crate) fn assistant() -> Assistant {
    let now = SystemClock.now();
    Assistant {
        id: AssistantId::new(),
        graph_id: "agent".into(),
        config: JsonMap::new(),
        context: JsonMap::new(),
        created_at: now,
        updated_at: now,
        metadata: JsonMap::new(),
        version: 1,
        name: "agent".to_owned(),
        description: None,
    }
}

/// A run on a thread, which is made if it is not there.
pub(crate) fn run_on(thread_id: ThreadId, assistant: &Assistant) -> NewRun {
    let input = json!({"messages": [{"role": "human", "content": "what's the weather in sf?"}]});
    NewRun {
        id: RunId::new(),
        thread_id,
        assistant: assistant.clone(),
        kwargs: RunKwargs {
            input: Some(Json::from_value(&input)),
            ..RunKwargs::default()
        },
        metadata: JsonMap::new(),
        multitask_strategy: MultitaskStrategy::Enqueue,
        delay: TimeDelta::zero(),
        if_thread_missing: IfThreadMissing::Create,
        policy: PartialPolicy::default(),
        server_configurable: JsonMap::new(),
        thread_ttl: None,
    }
}

fn checkpoint(thread_id: ThreadId, step: i64) -> NewCheckpoint {
    let now = SystemClock.now();
    let text = "a message of some length, as they are. ".repeat(25);
    let channel = |name: &str| ChannelBlob {
        channel: name.to_owned(),
        version: format!("{step}.{name}"),
        blob: Blob::json(&text).expect("JSON"),
    };
    let blobs = vec![channel("messages"), channel("branch")];
    let versions = blobs
        .iter()
        .map(|blob| (blob.channel.clone(), blob.version.clone()));
    let metadata = json!({"source": "loop", "step": step});
    NewCheckpoint {
        checkpoint: Checkpoint {
            thread_id,
            ns: String::new(),
            id: CheckpointId::after(None, now),
            parent: None,
            run_id: None,
            metadata: metadata.as_object().expect("an object").clone(),
            head: Blob::json(&json!({"v": 4, "versions_seen": {}})).expect("JSON"),
            versions: versions.collect::<BTreeMap<_, _>>(),
            created_at: now,
        },
        blobs,
    }
}

/// A run from its submission to its end, with one checkpoint.
pub(crate) async fn whole_run(database: &dyn Database, new: NewRun, worker: WorkerId) {
    let thread = new.thread_id;
    database.submit_run(new).await.expect("it is accepted");
    let reply = database
        .claim(thread, worker, ClaimId::new())
        .await
        .expect("an answer");
    let ClaimReply::Claimed(claimed) = reply else {
        panic!("{reply:?}");
    };
    let new = checkpoint(thread, claimed.lease.fence.epoch);
    let values = json!({"messages": ["a message of some length, as they are. ".repeat(25)]});
    let settlement = Settlement {
        transit: Transit::Succeed,
        head: Some(Head {
            checkpoint_id: Some(new.checkpoint.id.clone()),
            values: Json::from_value(&values),
            next: Vec::new(),
            interrupts: JsonMap::new(),
        }),
        residue: None,
        output: Some(Json::from_value(&values)),
        interrupted_output: None,
    };
    let guard = Guard::Attempt(claimed.lease.fence, claimed.lease.run_id);
    database
        .put_checkpoints(thread, guard, vec![new], Vec::new())
        .await
        .expect("it is stored");
    database
        .settle(&claimed.lease, settlement, Some(ClaimId::new()))
        .await
        .expect("it is settled");
}
