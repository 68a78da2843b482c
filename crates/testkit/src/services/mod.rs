//! Real servers for tests: the ones that `scripts/services.sh run` shares between all tests, and
//! private ones that a test may kill, pause and restart. A private server ends when it is dropped,
//! or with the test's process, and takes its folder along.
//!
//! Everything here panics if it does not succeed within a minute: a test can do nothing better.
//! The waits need real time, so not a tokio runtime with its clock paused.

pub mod nats;
pub mod pgbouncer;
pub mod postgres;
pub mod shared;

mod http;
mod process;

pub use process::Port;

/// The value of an environment variable that `scripts/services.sh run` sets.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's servers are no configuration of the product"
)]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: run this by `make test-rust` or `scripts/services.sh run cargo ...`"
        )
    })
}
