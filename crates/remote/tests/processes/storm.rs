//! Many runs, some of which ruin their process, while code is reloaded: every run ends, each hears the truth,
//! and nothing is left of the places.

use runloom_remote::peer::CallError;
use runloom_remote::pool::{Loss, Pool, PoolConfig};
use runloom_remote::protocol::{OutcomeKind, RunEnded};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{launch, run_of, soon, stop, until};

const RUNS: u64 = 300;

/// What a run does to its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Good,
    Stopped,
    Killed,
    Leaking,
    Deadly,
    Forgotten,
}

impl Manner {
    fn of(number: u64) -> Self {
        match number % 50 {
            7 => Self::Killed,
            17 => Self::Leaking,
            27 | 28 => Self::Forgotten,
            37 if number < 100 => Self::Deadly,
            20..27 => Self::Stopped,
            _ => Self::Good,
        }
    }
}

/// Executes a run as a worker does: again if its process was lost for another's sake. How often it was lost
/// for no fault of its own, or because the process died.
async fn see_through(pool: Pool, number: u64) -> Result<u32, String> {
    let manner = Manner::of(number);
    let graph = match manner {
        Manner::Good => "echo",
        Manner::Stopped | Manner::Killed | Manner::Forgotten => "wait",
        Manner::Leaking => "leak",
        Manner::Deadly => "die",
    };
    let mut lost = 0;
    loop {
        let place = pool.place().await.map_err(|error| error.to_string())?;
        let call = place.open("run", &run_of(graph, &json!(number)), None);
        let mut call = match call {
            Ok(call) => call,
            Err(CallError::Gone) => continue,
            Err(error) => return Err(error.to_string()),
        };
        match manner {
            Manner::Stopped => stop(&call),
            Manner::Killed => place.kill(),
            Manner::Forgotten => return Ok(lost),
            _ => {}
        }
        match call.reply::<RunEnded>().await {
            Ok(ended) => {
                let good = match manner {
                    Manner::Good | Manner::Leaking => ended.outcome == OutcomeKind::Success,
                    Manner::Stopped => ended.outcome == OutcomeKind::Stopped,
                    Manner::Killed | Manner::Deadly | Manner::Forgotten => false,
                };
                return good.then_some(lost).ok_or(format!("{manner:?}: {ended:?}"));
            }
            Err(CallError::Gone) => match (place.lost().await, manner) {
                (Loss::Killed, Manner::Killed) | (Loss::Died(_), Manner::Deadly) => {
                    return Ok(lost);
                }
                (Loss::Killed, other) => return Err(format!("killed for no reason: {other:?}")),
                (Loss::Evicted | Loss::Died(_), _) => lost += 1,
            },
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_run_ends_while_processes_are_killed_die_leak_and_are_replaced() {
    let config = PoolConfig {
        processes: 2,
        max_runs: 4,
        spare: true,
        ..PoolConfig::default()
    };
    let pool = soon(Pool::start(config, launch(&[]))).await.unwrap();
    let mut runs = JoinSet::new();
    for number in 0..RUNS {
        runs.spawn(see_through(pool.clone(), number));
    }
    let mut ended = 0;
    while let Some(run) = soon(runs.join_next()).await {
        run.unwrap().unwrap();
        ended += 1;
        if ended % 100 == 0 {
            soon(pool.replace(launch(&[]))).await.unwrap();
        }
        let census = pool.census();
        assert!(census.serving <= 2, "{census:?}");
    }
    assert_eq!(ended, RUNS);
    until(|| {
        let census = pool.census();
        (census.runs, census.waiting, census.retiring) == (0, 0, 0) && census.serving == 2
    })
    .await;
    soon(pool.shutdown()).await;
}
