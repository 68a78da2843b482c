//! The races, each from a report somewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use runloom_core::run::CancelAction::{Interrupt as CancelInterrupt, Rollback as CancelRollback};
use runloom_core::run::MultitaskStrategy::{Enqueue, Interrupt, Reject, Rollback};
use runloom_core::run::{MultitaskStrategy, RunStatus};

use crate::check::{Allowed, check};
use crate::executor::Temper::{self, Angry, Deaf, Flaky, Obedient, Slow};
use crate::executor::input;
use crate::play::{on_sqlite, on_the_model};
use crate::world::World;

/// One scenario: a test on the model and a test on SQLite.
macro_rules! scenario {
    ($(#[$doc:meta])* $name:ident) => {
        mod $name {
            #[test]
            fn on_the_model() {
                super::on_the_model(stringify!($name), super::$name);
            }

            #[test]
            fn on_sqlite() {
                super::on_sqlite(stringify!($name), super::$name);
            }
        }
    };
}

const STRATEGIES: [MultitaskStrategy; 4] = [Reject, Enqueue, Interrupt, Rollback];
const TEMPERS: [Temper; 5] = [Obedient, Slow, Deaf, Angry, Flaky];

/// So many steps that a run comes to its end only by being stopped, however slow the machine is.
const ENDLESS: u32 = 1_000_000;

impl World {
    /// A run of a few steps of up to eight milliseconds.
    async fn say(&self, strategy: MultitaskStrategy, text: &str, temper: Temper) -> bool {
        let (steps, millis) = (1 + self.draw(3), self.draw(8));
        let input = input(text, u32::try_from(steps).unwrap(), millis, temper);
        self.submit(strategy, text, input, 0).await.is_some()
    }

    fn any<T: Copy>(&self, choices: &[T]) -> T {
        choices[usize::try_from(self.draw(choices.len() as u64 - 1)).unwrap()]
    }

    async fn rest(&self, allowed: Allowed) {
        self.quiet().await;
        check(self, allowed).await;
    }
}

scenario!(two_creates_at_the_same_instant);
async fn two_creates_at_the_same_instant(world: Arc<World>) {
    world.start_worker();
    world.start_worker();
    let (one, two) = (world.any(&STRATEGIES), world.any(&STRATEGIES));
    let both = [(one, "one"), (two, "two")];
    let accepted = join_all(both.map(|(strategy, text)| {
        let world = &world;
        async move {
            world.jitter(1).await;
            world.say(strategy, text, Obedient).await
        }
    }));
    assert!(accepted.await.contains(&true));
    world
        .rest(Allowed {
            cancelled: true,
            ..Allowed::default()
        })
        .await;
}

scenario!(five_rejects_on_an_idle_thread);
async fn five_rejects_on_an_idle_thread(world: Arc<World>) {
    world.start_worker();
    let all = ["1", "2", "3", "4", "5"];
    let endless = all.map(|text| (text, input(text, ENDLESS, 100, Obedient)));
    let accepted = endless.map(|(text, endless)| world.submit(Reject, text, endless, 0));
    let accepted: Vec<_> = join_all(accepted).await.into_iter().flatten().collect();
    assert_eq!(accepted.len(), 1);
    world.say(Interrupt, "the end", Obedient).await;
    world.rest(Allowed::default()).await;
    let first = world.status(accepted[0]).await;
    assert_eq!(first, Some(RunStatus::Interrupted));
}

scenario!(rollbacks_in_a_row);
async fn rollbacks_in_a_row(world: Arc<World>) {
    world.start_worker();
    world.start_worker();
    world.say(Enqueue, "kept", Obedient).await;
    world.quiet().await;
    for text in ["1", "2", "3"] {
        world.say(Rollback, text, world.any(&TEMPERS)).await;
        world.jitter(15).await;
    }
    world.rest(Allowed::default()).await;
}

scenario!(a_burst_of_six_interrupts);
async fn a_burst_of_six_interrupts(world: Arc<World>) {
    world.start_worker();
    world.start_worker();
    for (text, steps) in [
        ("1", ENDLESS),
        ("2", ENDLESS),
        ("3", ENDLESS),
        ("4", ENDLESS),
        ("5", ENDLESS),
        ("6", 5),
    ] {
        let input = input(text, steps, 150, Obedient);
        let accepted = world.submit(Interrupt, text, input, 0).await;
        assert!(accepted.is_some());
        world.jitter(world.any(&[0, 1, 10])).await;
    }
    world.rest(Allowed::default()).await;
    let accepted = world.accepted.lock().unwrap().clone();
    for (place, run) in accepted.iter().enumerate() {
        let last = place == accepted.len() - 1;
        let expected = if last {
            RunStatus::Success
        } else {
            RunStatus::Interrupted
        };
        assert_eq!(
            world.status(run.id).await,
            Some(expected),
            "run {}",
            run.text
        );
    }
}

scenario!(an_interrupt_of_a_pending_run);
async fn an_interrupt_of_a_pending_run(world: Arc<World>) {
    world.start_worker();
    world.say(Enqueue, "runs", world.any(&TEMPERS)).await;
    world.say(Enqueue, "waits", Obedient).await;
    world.jitter(10).await;
    world.say(Interrupt, "comes", Obedient).await;
    world.rest(Allowed::default()).await;
}

scenario!(a_message_in_the_instant_a_run_ends);
async fn a_message_in_the_instant_a_run_ends(world: Arc<World>) {
    world.start_worker();
    world.start_worker();
    let first = input("first", 1, 5, Obedient);
    let run = world
        .submit(Enqueue, "first", first, 0)
        .await
        .expect("accepted");
    let until = tokio::time::Instant::now() + Duration::from_micros(3_000 + world.draw(6_000));
    tokio::time::sleep_until(until).await;
    let over = world.status(run).await;
    world
        .say(
            world.any(&[Enqueue, Interrupt, Rollback]),
            "second",
            Obedient,
        )
        .await;
    world.rest(Allowed::default()).await;
    if over == Some(RunStatus::Success) {
        assert_eq!(
            world.status(run).await,
            over,
            "a run that had ended was changed"
        );
    }
}

scenario!(an_interrupt_around_the_claim);
async fn an_interrupt_around_the_claim(world: Arc<World>) {
    world.start_worker();
    world.say(Enqueue, "first", world.any(&TEMPERS)).await;
    world.jitter(4).await;
    world.say(Interrupt, "second", Obedient).await;
    world.rest(Allowed::default()).await;
}

scenario!(an_interrupt_over_an_interrupt);
async fn an_interrupt_over_an_interrupt(world: Arc<World>) {
    world.start_worker();
    for text in ["first", "second", "third"] {
        world
            .say(Interrupt, text, world.any(&[Obedient, Slow, Deaf, Angry]))
            .await;
        world.jitter(12).await;
    }
    world.rest(Allowed::default()).await;
}

scenario!(an_interrupt_and_then_a_rollback_of_the_same_run);
async fn an_interrupt_and_then_a_rollback_of_the_same_run(world: Arc<World>) {
    world.start_worker();
    let long = input("victim", 5, 10, world.any(&TEMPERS));
    let run = world
        .submit(Enqueue, "victim", long, 0)
        .await
        .expect("accepted");
    world.jitter(30).await;
    world.cancel(run, CancelInterrupt).await;
    world.jitter(5).await;
    let rolled_back = world.cancel(run, CancelRollback).await;
    world
        .rest(Allowed {
            cancelled: true,
            ..Allowed::default()
        })
        .await;
    assert!(
        !rolled_back || world.status(run).await.is_none(),
        "it was in flight, yet it is there"
    );
}

scenario!(a_victim_that_does_not_want_to_stop);
async fn a_victim_that_does_not_want_to_stop(world: Arc<World>) {
    world.start_worker();
    let temper = world.any(&[Slow, Deaf, Angry]);
    let endless = input("victim", ENDLESS, 30, temper);
    let victim = world
        .submit(Enqueue, "victim", endless, 0)
        .await
        .expect("accepted");
    world.jitter(60).await;
    let strategy = world.any(&[Interrupt, Rollback]);
    world.say(strategy, "next", Obedient).await;
    world.rest(Allowed::default()).await;
    let expected = (strategy == Interrupt).then_some(RunStatus::Interrupted);
    assert_eq!(world.status(victim).await, expected);
}

scenario!(the_worker_dies_around_the_signal);
async fn the_worker_dies_around_the_signal(world: Arc<World>) {
    world.start_worker();
    world
        .submit(
            Enqueue,
            "victim",
            input("victim", 9, 10, world.any(&TEMPERS)),
            0,
        )
        .await;
    let kill = async {
        world.jitter(80).await;
        world.kill(0);
        world.start_worker();
    };
    let interrupt = async {
        world.jitter(80).await;
        world
            .say(world.any(&[Interrupt, Rollback, Enqueue]), "next", Obedient)
            .await;
    };
    tokio::join!(kill, interrupt);
    world.rest(Allowed::default()).await;
}

scenario!(the_worker_is_paused_and_wakes_after_its_successor_started);
async fn the_worker_is_paused_and_wakes_after_its_successor_started(world: Arc<World>) {
    world.start_worker();
    world
        .submit(
            Enqueue,
            "victim",
            input("victim", 9, 10, world.any(&TEMPERS)),
            0,
        )
        .await;
    world.jitter(60).await;
    let millis = 200 + world.draw(800);
    let others = async {
        world.start_worker();
        world.jitter(60).await;
        world
            .say(world.any(&[Interrupt, Rollback, Enqueue]), "next", Slow)
            .await;
    };
    tokio::join!(world.freeze(0, millis), others);
    world.rest(Allowed::default()).await;
}

scenario!(a_cancel_during_the_back_off);
async fn a_cancel_during_the_back_off(world: Arc<World>) {
    world.start_worker();
    let flaky = input("flaky", 2, 5, Flaky);
    let run = world
        .submit(Enqueue, "flaky", flaky, 0)
        .await
        .expect("accepted");
    world.jitter(40).await;
    match world.draw(2) {
        0 => drop(world.cancel(run, CancelInterrupt).await),
        1 => drop(world.cancel(run, CancelRollback).await),
        _ => drop(world.say(Interrupt, "next", Obedient).await),
    }
    world
        .rest(Allowed {
            cancelled: true,
            ..Allowed::default()
        })
        .await;
}

scenario!(a_superseding_run_that_is_delayed);
async fn a_superseding_run_that_is_delayed(world: Arc<World>) {
    world.start_worker();
    world.say(Enqueue, "first", world.any(&TEMPERS)).await;
    world.jitter(10).await;
    let delay = i64::try_from(world.draw(80)).unwrap();
    let later = input("later", 2, 5, Obedient);
    world
        .submit(world.any(&[Interrupt, Rollback]), "later", later, delay)
        .await;
    world.jitter(60).await;
    world
        .say(
            world.any(&[Enqueue, Interrupt, Rollback]),
            "third",
            Obedient,
        )
        .await;
    world
        .rest(Allowed {
            reordered: true,
            ..Allowed::default()
        })
        .await;
}

scenario!(the_thread_is_deleted_while_busy);
async fn the_thread_is_deleted_while_busy(world: Arc<World>) {
    world.start_worker();
    for text in ["1", "2"] {
        world.say(Enqueue, text, world.any(&TEMPERS)).await;
        world.jitter(10).await;
    }
    world.delete_thread().await;
    world.accepted.lock().unwrap().clear();
    world.say(Enqueue, "again", Obedient).await;
    world.rest(Allowed::default()).await;
}

scenario!(everything_restarts_while_busy);
async fn everything_restarts_while_busy(world: Arc<World>) {
    world.start_worker();
    world.start_worker();
    for text in ["1", "2", "3"] {
        world
            .say(world.any(&[Enqueue, Interrupt]), text, world.any(&TEMPERS))
            .await;
        world.jitter(10).await;
    }
    world.jitter(30).await;
    if world.draw(1) == 0 {
        world.kill(0);
        world.kill(1);
    } else {
        world.drain(0);
        world.drain(1);
    }
    world.start_worker();
    world
        .say(world.any(&[Enqueue, Interrupt, Rollback]), "4", Obedient)
        .await;
    world.rest(Allowed::default()).await;
}

scenario!(
    /// Nobody rolls back here: a run that was rolled back is forgotten with its id, so that a copy of
    /// its submission which comes later still is a new run.
    a_gateway_dies_and_another_stands_still
);
pub(crate) async fn a_gateway_dies_and_another_stands_still(world: Arc<World>) {
    world.start_gateway();
    world.start_worker();
    world.start_worker();
    let users = join_all(["1", "2", "3", "4", "5"].map(|text| {
        let world = &world;
        async move {
            world.jitter(150).await;
            world
                .say(
                    world.any(&[Reject, Enqueue, Interrupt]),
                    text,
                    world.any(&TEMPERS),
                )
                .await;
        }
    }));
    let trouble = async {
        world.jitter(80).await;
        world.gateways.kill(0);
        world.gateways.freeze(1, world.draw(300)).await;
    };
    tokio::join!(users, trouble);
    world
        .rest(Allowed {
            cancelled: true,
            ..Allowed::default()
        })
        .await;
}

scenario!(the_database_is_down_for_a_while);
pub(crate) async fn the_database_is_down_for_a_while(world: Arc<World>) {
    world.start_worker();
    world.start_worker();
    let users = join_all(["1", "2", "3", "4"].map(|text| {
        let world = &world;
        async move {
            world.jitter(120).await;
            world
                .say(world.any(&STRATEGIES), text, world.any(&TEMPERS))
                .await;
        }
    }));
    let outage = async {
        world.jitter(60).await;
        world.outage(world.draw(1_000)).await;
    };
    tokio::join!(users, outage);
    world
        .rest(Allowed {
            cancelled: true,
            ..Allowed::default()
        })
        .await;
}

scenario!(the_bus_forgets_everything);
pub(crate) async fn the_bus_forgets_everything(world: Arc<World>) {
    world.start_worker();
    world.start_worker();
    let users = join_all(["1", "2", "3", "4", "5"].map(|text| {
        let world = &world;
        async move {
            world.jitter(100).await;
            world
                .say(world.any(&[Enqueue, Interrupt]), text, world.any(&TEMPERS))
                .await;
        }
    }));
    let oblivion = async {
        for _ in 0..40 {
            world.jitter(6).await;
            world.forget_bus().await;
        }
    };
    tokio::join!(users, oblivion);
    world.rest(Allowed::default()).await;
}

scenario!(anything_at_all);
pub(crate) async fn anything_at_all(world: Arc<World>) {
    world.start_worker();
    world.start_worker();
    let mut frozen = 0;
    for number in 0..(4 + world.draw(8)) {
        let text = format!("message {number}");
        match world.draw(9) {
            0 if frozen == 0 => {
                frozen += 1;
                world.freeze(0, world.draw(600)).await;
            }
            1 => {
                let accepted = world.accepted.lock().unwrap().clone();
                if let Some(run) = accepted.last() {
                    world
                        .cancel(run.id, world.any(&[CancelInterrupt, CancelRollback]))
                        .await;
                }
            }
            _ => drop(
                world
                    .say(world.any(&STRATEGIES), &text, world.any(&TEMPERS))
                    .await,
            ),
        }
        world.jitter(20).await;
    }
    world
        .rest(Allowed {
            cancelled: true,
            ..Allowed::default()
        })
        .await;
}

/// The margin of a lease covers clocks that are a tenth too slow. A clock at half speed goes on
/// beside its successor: that cannot be prevented, but nothing that it writes lands.
#[test]
fn a_clock_beyond_the_margin_executes_in_vain() {
    static OVERLAPS: AtomicUsize = AtomicUsize::new(0);
    on_the_model("a clock beyond the margin", async |world: Arc<World>| {
        world.start_worker_with_clock(0.4);
        let long = input("victim", 6, 120, Deaf);
        world.submit(Enqueue, "victim", long, 0).await;
        world.jitter(60).await;
        let millis = 440 + world.draw(300);
        let others = async {
            world.start_worker();
            world.jitter(60).await;
            world.say(Enqueue, "next", Slow).await;
        };
        tokio::join!(world.freeze(0, millis), others);
        world
            .rest(Allowed {
                beside: true,
                ..Allowed::default()
            })
            .await;
        let overlaps = world.acts.overlaps(world.thread).len();
        OVERLAPS.fetch_add(overlaps, Ordering::Relaxed);
    });
    assert!(
        OVERLAPS.load(Ordering::Relaxed) > 0,
        "the clocks were good enough"
    );
}
