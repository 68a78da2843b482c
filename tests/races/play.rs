//! Plays a scenario for many seeds on each database.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use runloom_testkit::memory::Memory;
use tokio::runtime::Builder;

use crate::world::{World, clock};

/// How long a world may take to come to rest.
const LONGEST: Duration = Duration::from_mins(1);

/// Worlds played at the same time on SQLite, where time is real.
const AT_ONCE: usize = 24;

/// The seeds to play: `RUNLOOM_SEED` alone, or the first `RUNLOOM_SEEDS`, or the first `most`.
#[expect(clippy::disallowed_methods, reason = "the knobs of `make races`")]
fn seeds(most: u64) -> Vec<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    match (number("RUNLOOM_SEED"), number("RUNLOOM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (0..count * most / 1_000).collect(),
        (None, None) => (0..most).collect(),
    }
}

async fn one<F: Future<Output = ()>>(name: &str, seed: u64, playing: F) -> Result<(), String> {
    let bounded = tokio::time::timeout(LONGEST, playing);
    let failed = |why: String| Err(format!("{name}: seed {seed}: {why}"));
    match AssertUnwindSafe(bounded).catch_unwind().await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_elapsed)) => failed("it does not come to rest".to_owned()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            failed(text.unwrap_or_default())
        }
    }
}

/// On the model, in simulated time: the same seed is the same history.
pub(crate) fn on_the_model<F: Future<Output = ()>>(name: &str, scenario: impl Fn(Arc<World>) -> F) {
    for seed in seeds(1_000) {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let played = runtime.expect("a runtime").block_on(async {
            fastrand::seed(seed);
            let clock = clock();
            let memory = Arc::new(Memory::new(clock.clone()));
            one(
                name,
                seed,
                scenario(Arc::new(World::new(memory, clock, seed, 1))),
            )
            .await
        });
        if let Err(failure) = played {
            panic!("{failure}");
        }
    }
}

/// On SQLite, in real time.
pub(crate) fn on_sqlite<F: Future<Output = ()>>(name: &str, scenario: impl Fn(Arc<World>) -> F) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let failures: Vec<String> = runtime.block_on(async {
        let worlds = seeds(100).into_iter().map(|seed| {
            let scenario = &scenario;
            async move {
                let clock = clock();
                let database = crate::world::sqlite(clock.clone()).await;
                one(
                    name,
                    seed,
                    scenario(Arc::new(World::new(database, clock, seed, 8))),
                )
                .await
            }
        });
        let played: Vec<_> = stream::iter(worlds)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        played.into_iter().filter_map(Result::err).collect()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A seed must decide everything, or a failing one could not be played again.
fn one_seed_twice_is_one_history<F: Future<Output = ()>>(scenario: impl Fn(Arc<World>) -> F) {
    let history = |seed| {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(async {
            fastrand::seed(seed);
            let clock = clock();
            let memory = Arc::new(Memory::new(clock.clone()));
            let world = Arc::new(World::new(memory, clock, seed, 1));
            scenario(world.clone()).await;
            world.story().await
        })
    };
    for seed in 0..50 {
        assert_eq!(history(seed), history(seed), "seed {seed}");
    }
}

#[test]
fn one_seed_twice_is_one_history_of_anything_at_all() {
    one_seed_twice_is_one_history(crate::scenarios::anything_at_all);
}

#[test]
fn one_seed_twice_is_one_history_of_gateways_that_die() {
    one_seed_twice_is_one_history(crate::scenarios::a_gateway_dies_and_another_stands_still);
}

#[test]
fn one_seed_twice_is_one_history_of_an_outage() {
    one_seed_twice_is_one_history(crate::scenarios::the_database_is_down_for_a_while);
}

#[test]
fn one_seed_twice_is_one_history_of_a_bus_that_forgets() {
    one_seed_twice_is_one_history(crate::scenarios::the_bus_forgets_everything);
}
