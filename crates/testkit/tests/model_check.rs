//! The model keeps the invariants that hold at every moment, and random operations repeat exactly.

use std::sync::Arc;

use runloom_testkit::conformance::database::Fixture;
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::memory::Memory;
use runloom_testkit::model_check::model_check;

fn memory() -> Fixture {
    let clock = ManualClock::new();
    Fixture::new(Arc::new(Memory::new(clock.clone())), clock)
}

#[tokio::test]
async fn the_model_keeps_the_invariants_whatever_is_done() {
    for seed in 0..50 {
        model_check(&memory(), seed, 150).await;
    }
}
