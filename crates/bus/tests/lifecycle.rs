//! What happens to runs, on its way to listeners.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::time::Duration;

use async_nats::jetstream;
use chrono::{DateTime, Utc};
use runloom_bus::nats::Nats;
use runloom_core::ids::{AssistantId, RunId, ThreadId};
use runloom_core::lifecycle::{LifecycleEvent, Stage};
use runloom_testkit::services::shared;
use serde_json::Value;
use support::{Leftovers, PATIENCE, options};

fn event(id: i64, stage: Stage) -> LifecycleEvent {
    LifecycleEvent {
        id,
        at: DateTime::<Utc>::UNIX_EPOCH,
        thread_id: ThreadId::new(),
        run_id: RunId::new(),
        assistant_id: AssistantId::new(),
        graph_id: "agent".into(),
        stage,
        attempt: 1,
    }
}

struct Kept {
    nats: Nats,
    context: jetstream::Context,
    prefix: String,
    _leftovers: Leftovers,
}

impl Kept {
    async fn new(manage: bool) -> Self {
        let url = shared::nats_url();
        let mut options = options(&url);
        options.manage_streams = manage;
        Self {
            prefix: options.prefix.clone(),
            _leftovers: Leftovers::of(&options),
            nats: Nats::connect(options).await.unwrap(),
            context: jetstream::new(async_nats::connect(url).await.unwrap()),
        }
    }

    fn stream(&self) -> String {
        format!("{}_RUN_c0", self.prefix.to_uppercase())
    }

    /// What the stream has: subjects and ids.
    async fn kept(&self) -> Vec<(String, i64)> {
        let stream = self.context.get_stream(self.stream()).await.unwrap();
        let state = stream.cached_info().state.clone();
        let mut kept = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let body: Value = serde_json::from_slice(&message.payload).unwrap();
            kept.push((message.subject.to_string(), body["id"].as_i64().unwrap()));
        }
        kept
    }
}

#[tokio::test]
async fn an_event_is_kept_once_under_its_status_thread_and_run() {
    let scene = Kept::new(true).await;
    let feed = scene.nats.lifecycle();
    let events = [event(7, Stage::Running), event(9, Stage::Discarded)];
    for event in events.iter().chain(&events) {
        feed.publish(event).await.unwrap();
    }
    let subject = |event: &LifecycleEvent| {
        let LifecycleEvent {
            stage,
            thread_id,
            run_id,
            ..
        } = event;
        format!("{}.c0.run.{stage}.{thread_id}.{run_id}", scene.prefix)
    };
    let expected = events.map(|event| (subject(&event), event.id));
    assert_eq!(scene.kept().await, expected);
}

#[tokio::test]
async fn a_stream_that_was_deleted_is_made_anew() {
    let scene = Kept::new(true).await;
    let feed = scene.nats.lifecycle();
    feed.publish(&event(1, Stage::Pending)).await.unwrap();
    scene.context.delete_stream(scene.stream()).await.unwrap();
    // As its relay does, which tries again what was not taken.
    let next = event(2, Stage::Running);
    let telling = async {
        while feed.publish(&next).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let telling = tokio::time::timeout(PATIENCE, telling);
    telling.await.expect("the stream is made anew");
    let ids: Vec<_> = scene.kept().await.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, [2]);
}

#[tokio::test]
async fn without_a_stream_nothing_counts_as_told() {
    let scene = Kept::new(false).await;
    let feed = scene.nats.lifecycle();
    let error = feed.publish(&event(1, Stage::Pending)).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}
