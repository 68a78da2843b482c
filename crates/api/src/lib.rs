//! The HTTP wire: requests, responses, error codes and paths, and nothing else. Only this crate and
//! the gateway know that Runloom is spoken to in HTTP and JSON.

pub mod error;
pub mod paths;
pub mod runs;
pub mod stream;
pub mod time;
