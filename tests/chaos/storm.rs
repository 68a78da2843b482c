//! One storm from its first process to its verdict, and the tests that make some.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use runloom_core::ids::random_id;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::checker::check;
use crate::client::{Habits, User};
use crate::faults::{Faults, Weather};
use crate::fences::Fences;
use crate::history::History;
use crate::netns;
use crate::report::{HEAD, Outcome, evidence};
use crate::settings;
use crate::world::World;

/// What a storm is made of.
#[derive(Clone, Copy)]
struct Storm {
    seed: u64,
    seconds: f64,
    threads: usize,
    /// The average time between two acts of one user, in seconds.
    pause: f64,
    weather: Weather,
}

/// How long a storm of `make chaos` lasts.
const USUAL: f64 = 75.0;

/// How long the runs that are left may take when nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long those who still wait for an end may wait once everything is over.
const LAST_CALL: Duration = Duration::from_secs(20);

#[test]
fn a_short_storm_breaks_nothing() {
    let storm = Storm {
        seed: 11,
        seconds: 30.0,
        threads: 60,
        pause: 2.5,
        weather: Weather::Storm,
    };
    assert!(all(&[storm]), "see above");
}

#[test]
#[ignore = "minutes: make chaos"]
fn storms_break_nothing() {
    let storm = |seed, seconds| Storm {
        seed,
        seconds,
        threads: 130,
        pause: 2.5,
        weather: Weather::Storm,
    };
    let seconds = settings::seconds();
    let storms: Vec<_> = if let Some(seed) = settings::seed() {
        vec![storm(seed, seconds.min(USUAL))]
    } else {
        let count = (seconds / USUAL).round().max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        let seeds = 1..=count as u64;
        seeds.map(|seed| storm(seed, seconds / count)).collect()
    };
    assert!(all(&storms), "see above");
}

#[test]
#[ignore = "a minute: make chaos"]
fn a_rolling_restart_loses_nothing_and_repeats_no_step() {
    assert!(all(&[rolling(40.0, Weather::RollingRestart)]), "see above");
}

#[test]
#[ignore = "needs the binary of an earlier version: make rolling-change"]
#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn a_rolling_change_of_version_loses_nothing_and_repeats_no_step() {
    let Some(previous) = settings::previous_binary() else {
        println!("SKIPPED, for there is no RUNLOOM_PREVIOUS_BIN");
        return;
    };
    let storm = rolling(30.0, Weather::RollingChange);
    assert!(all_from(&previous, &[storm]), "see above");
}

/// Processes that are replaced one after the other.
fn rolling(seconds: f64, weather: Weather) -> Storm {
    Storm {
        seed: settings::seed().unwrap_or(1),
        seconds,
        threads: 130,
        pause: 2.5,
        weather,
    }
}

#[test]
fn cut_cables_break_nothing() {
    cuts(Storm {
        seed: 5,
        seconds: 18.0,
        threads: 40,
        pause: 2.5,
        weather: Weather::Cuts,
    });
}

#[test]
#[ignore = "a minute: make chaos"]
fn many_cut_cables_break_nothing() {
    cuts(Storm {
        seed: settings::seed().unwrap_or(1),
        seconds: USUAL,
        threads: 130,
        pause: 2.5,
        weather: Weather::Cuts,
    });
}

#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn cuts(storm: Storm) {
    if let Some(reason) = netns::lacking() {
        println!("SKIPPED, for no network between hosts can be made here: {reason}");
        return;
    }
    assert!(all(&[storm]), "see above");
}

/// Makes storms and prints a table of them. Whether nothing was violated.
fn all(storms: &[Storm]) -> bool {
    all_from(&settings::binary(), storms)
}

/// The same, beginning with the version at `first`.
#[expect(clippy::print_stdout, reason = "the table is what the test is for")]
fn all_from(first: &Path, storms: &[Storm]) -> bool {
    let binary = settings::binary();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut sound = true;
    println!("{HEAD}");
    for storm in storms {
        let (row, notes, fine) = runtime.block_on(make(*storm, first, &binary));
        println!("{row}");
        for note in notes {
            println!("        {note}");
        }
        sound &= fine;
    }
    sound
}

/// Makes one storm: its line, what else is to be said, and whether nothing was violated.
async fn make(storm: Storm, first: &Path, then: &Path) -> (String, Vec<String>, bool) {
    let mut world = World::start(first, then, storm.weather == Weather::Cuts).await;
    let (history, fenced, quiet) = play(storm, &mut world).await;
    let dump = world.dump().await;
    let mut verdict = check(&history, &dump);
    let records = world.records();
    for alarm in &records.alarms {
        verdict.alarm(alarm);
    }
    if storm.weather.is_rolling() && verdict.figures.repeated > 0 {
        let text = format!("{} steps were done twice", verdict.figures.repeated);
        verdict.alarm(&text);
    }
    let outcome = Outcome {
        seed: storm.seed,
        seconds: storm.seconds,
        verdict,
        fenced,
        quiet,
    };
    let mut notes = Vec::new();
    let mut fine = outcome.verdict.violations.is_empty() && quiet.is_some();
    if storm.weather == Weather::Storm {
        notes = outcome.doubts();
        fine &= notes.is_empty();
    }
    if !fine {
        let folder = evidence(&outcome, &history, &dump, &mut world);
        let violations = outcome.verdict.violations.iter().take(20);
        notes.extend(violations.map(|violation| format!("VIOLATED {violation}")));
        notes.push(format!(
            "evidence in {}; again with: make chaos SEED={}",
            folder.display(),
            storm.seed
        ));
    }
    (outcome.row(), notes, fine)
}

/// Lets clients and faults loose on the world, then waits until it is quiet. What was seen, how many
/// writes were fenced, how long it took to get quiet.
async fn play(storm: Storm, world: &mut World) -> (History, u64, Option<f64>) {
    let habits = Habits {
        stop: CancellationToken::new(),
        last_call: CancellationToken::new(),
        pause: storm.pause,
    };
    let threads: Vec<_> = (0..storm.threads).map(|_| random_id()).collect();
    let made = threads.iter().map(async |thread| {
        let body = json!({"thread_id": thread, "if_exists": "do_nothing"});
        world.http.insist("/threads", Some(&body)).await
    });
    let made = join_all(made).await;
    assert!(made.iter().all(Option::is_some), "threads cannot be made");

    let mut users = JoinSet::new();
    for (number, thread) in (0_u64..).zip(&threads) {
        // On every fourth thread two people talk at the same time.
        for voice in 0..if number % 4 == 0 { 2 } else { 1 } {
            let name = format!("u{number}.{voice}");
            let seed = storm.seed << 32 | number << 8 | voice;
            users.spawn(User::new(&world.http, &habits, thread, name, seed).live());
        }
    }
    let fences = Fences::watch(world.monitors.clone());
    let mut faults = Faults::new(storm.seed, storm.weather);
    let end = Instant::now() + Duration::from_secs_f64(storm.seconds);
    faults.rage(world, end).await;
    habits.stop.cancel();
    world.up().await;
    let quiet = world.quiet(PATIENCE).await;
    let mut history = std::mem::take(&mut faults.history);
    let last_call = tokio::time::sleep(LAST_CALL);
    tokio::pin!(last_call);
    while !users.is_empty() {
        tokio::select! {
            Some(seen) = users.join_next() => history.extend(seen.expect("a user")),
            () = &mut last_call, if !habits.last_call.is_cancelled() => habits.last_call.cancel(),
        }
    }
    let records = world.records();
    history.steps = records.steps;
    (history, fences.total().await.max(records.fenced), quiet)
}
