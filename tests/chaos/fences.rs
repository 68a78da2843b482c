//! Counts refused writes across processes that come and go.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

/// How often the workers are asked. A process that is killed takes what it has not told with it.
const EVERY: Duration = Duration::from_millis(500);

/// Asks every worker for its metrics while a storm lasts.
pub(crate) struct Fences {
    tallies: Vec<Arc<Mutex<Tally>>>,
    _watching: JoinSet<()>,
}

/// The sum over the processes that have listened on one port.
#[derive(Debug, Default)]
struct Tally {
    before: u64,
    latest: u64,
}

impl Tally {
    /// A counter that falls is another process's.
    fn see(&mut self, count: u64) {
        if count < self.latest {
            self.before += self.latest;
        }
        self.latest = count;
    }
}

impl Fences {
    /// Begins to ask for these pages.
    pub(crate) fn watch(pages: Vec<String>) -> Self {
        let mut watching = JoinSet::new();
        let tallies = pages.into_iter().map(|page| {
            let tally = Arc::new(Mutex::new(Tally::default()));
            watching.spawn(watch(page, tally.clone()));
            tally
        });
        Self {
            tallies: tallies.collect(),
            _watching: watching,
        }
    }

    /// How many writes were refused so far, as far as anybody said so.
    pub(crate) async fn total(&self) -> u64 {
        tokio::time::sleep(EVERY * 2).await;
        let sums = self.tallies.iter().map(|tally| {
            let tally = tally.lock().unwrap();
            tally.before + tally.latest
        });
        sums.sum()
    }
}

async fn watch(page: String, tally: Arc<Mutex<Tally>>) {
    let client = reqwest::Client::builder().timeout(EVERY).build();
    let client = client.expect("a client");
    loop {
        if let Ok(answer) = client.get(&page).send().await
            && let Ok(text) = answer.text().await
        {
            tally.lock().unwrap().see(sum(&text));
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The sum of all lines of the counter.
fn sum(page: &str) -> u64 {
    let lines = page.lines();
    let counts = lines
        .filter(|line| line.starts_with("runloom_fenced_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_processes_counted_is_not_forgotten() {
        let mut tally = Tally::default();
        for count in [0, 3, 0, 0, 2] {
            tally.see(count);
        }
        assert_eq!(tally.before + tally.latest, 5);
        assert_eq!(
            sum("# HELP x\nrunloom_fenced_total{op=\"a\"} 2\nrunloom_fenced_total 3\n"),
            5
        );
    }
}
