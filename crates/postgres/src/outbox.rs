//! What happened to runs and is still to be told. Triggers write it, see `migrations`.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::database::{DatabaseError, Outbox};
use runloom_core::ids::{AssistantId, GraphId, RunId, ThreadId, WorkerId};
use runloom_core::lifecycle::{LifecycleEvent, Stage};
use sqlx::types::{Text, Uuid};

use crate::Postgres;
use crate::error::{Error, Result};

/// A row that says whether the asking relay has the outbox, and an event, if there is one.
struct Line {
    has_it: bool,
    id: Option<i64>,
    at: Option<DateTime<Utc>>,
    thread_id: Option<Uuid>,
    run_id: Option<Uuid>,
    assistant_id: Option<Uuid>,
    graph_id: Option<String>,
    stage: Option<Text<Stage>>,
    attempt: Option<i32>,
}

impl Line {
    fn event(self) -> Option<LifecycleEvent> {
        Some(LifecycleEvent {
            id: self.id?,
            at: self.at?,
            thread_id: ThreadId(self.thread_id?),
            run_id: RunId(self.run_id?),
            assistant_id: AssistantId(self.assistant_id?),
            graph_id: GraphId(self.graph_id?),
            stage: self.stage?.0,
            attempt: self.attempt?.cast_unsigned(),
        })
    }
}

#[async_trait]
impl Outbox for Postgres {
    async fn untold(
        &self,
        relay: WorkerId,
        lease: Duration,
        limit: u32,
    ) -> Result<Option<Vec<LifecycleEvent>>, DatabaseError> {
        let mut session = self.server.statement().await?;
        // The lease is only written when half of it is over: a relay asks several times a second.
        let lines = sqlx::query_as!(
            Line,
            r#"with taken as (
                update outbox_relay
                set holder = $1, until = clock_timestamp() + make_interval(secs => $2::float8)
                where until <= clock_timestamp() or
                    (holder = $1 and until <= clock_timestamp() + make_interval(secs => $2::float8 / 2))
                returning true
            ), relay as (
                select exists (select from taken) or exists (
                    select from outbox_relay where holder = $1 and until > clock_timestamp()
                ) as has_it
            )
            select has_it as "has_it!", id as "id?", at as "at?", thread_id as "thread_id?",
                run_id as "run_id?", assistant_id as "assistant_id?", graph_id as "graph_id?",
                stage as "stage?: Text<Stage>", attempt as "attempt?"
            from relay left join lateral (
                select * from outbox order by id limit $3
            ) events on has_it
            order by id"#,
            relay.0,
            lease.as_secs_f64(),
            i64::from(limit)
        );
        let lines = lines.fetch_all(&mut session).await.map_err(Error::from)?;
        session.commit().await?;
        let has_it = lines.first().is_some_and(|line| line.has_it);
        Ok(has_it.then(|| lines.into_iter().filter_map(Line::event).collect()))
    }

    async fn told(&self, ids: &[i64]) -> Result<(), DatabaseError> {
        let mut session = self.server.statement().await?;
        sqlx::query!("delete from outbox where id = any($1)", ids)
            .execute(&mut session)
            .await
            .map_err(Error::from)?;
        Ok(session.commit().await?)
    }

    async fn expire(&self, age: Duration, limit: u32) -> Result<u64, DatabaseError> {
        let mut session = self.server.statement().await?;
        // Only the oldest are looked at, whatever their number.
        let expired = sqlx::query!(
            "delete from outbox where id in (
                select id from (select id, at from outbox order by id limit $2) oldest
                where at <= clock_timestamp() - make_interval(secs => $1::float8)
            )",
            age.as_secs_f64(),
            i64::from(limit)
        );
        let expired = expired.execute(&mut session).await.map_err(Error::from)?;
        session.commit().await?;
        Ok(expired.rows_affected())
    }

    async fn resign(&self, relay: WorkerId) -> Result<(), DatabaseError> {
        let mut session = self.server.statement().await?;
        sqlx::query!(
            "update outbox_relay set until = '-infinity' where holder = $1",
            relay.0
        )
        .execute(&mut session)
        .await
        .map_err(Error::from)?;
        Ok(session.commit().await?)
    }
}
