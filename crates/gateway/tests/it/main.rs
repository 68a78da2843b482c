//! The gateway, spoken to as clients do, on the model of the database.

mod support;

mod assistants;
mod items;
mod openapi;
mod refusals;
mod state;
mod system;
mod threads;
