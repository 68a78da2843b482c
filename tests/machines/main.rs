//! Many machines: gateways and workers as processes of their own on Postgres and NATS, each scenario
//! with one thing that goes wrong. What the graph writes down about its steps, what clients were told
//! and what the database holds must agree afterwards.
//!
//! Needs servers: `scripts/services.sh run cargo nextest run -p runloom-tests --test machines`.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod cluster;
mod load;
mod proof;
mod proxy;
mod report;
mod stream;

mod bus;
mod cuts;
mod database;
mod pooler;
mod workers;
