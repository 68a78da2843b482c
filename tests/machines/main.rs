//! Many machines: gateways and workers as processes of their own on Postgres and NATS, each scenario
//! with one thing that goes wrong.
