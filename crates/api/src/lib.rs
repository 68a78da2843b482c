//! The HTTP wire: requests, responses, error codes and paths, and nothing else. Only this crate and
//! the gateway know that Runloom is spoken to in HTTP and JSON.

pub mod assistants;
pub mod config;
pub mod error;
pub mod extract;
pub mod items;
pub mod page;
pub mod paths;
pub mod runs;
pub mod schema;
pub mod state;
pub mod stream;
pub mod system;
pub mod threads;
pub mod time;
pub mod ttl;
