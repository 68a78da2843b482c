//! The model passes the suite that it defines.

use std::sync::Arc;

use runloom_testkit::conformance::database::Fixture;
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::memory::Memory;

#[expect(
    clippy::unused_async,
    reason = "fixtures are asynchronous; this one has nothing to wait for"
)]
async fn memory() -> Fixture {
    let clock = ManualClock::new();
    Fixture::new(Arc::new(Memory::new(clock.clone())), clock)
}

runloom_testkit::database_conformance!(memory);
