//! Many runs, one after the other: whether memory grows and speed goes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::wait::{Enough, load};
use super::{Ground, rate};
use crate::results::Round;

/// Connections that load the server.
const CLIENTS: usize = 16;

/// Where what is stored can be measured.
pub(crate) enum Stored {
    /// A folder.
    Folder(std::path::PathBuf),
    /// A Postgres database.
    Database(String),
}

impl Stored {
    pub(crate) fn at(place: &str) -> Self {
        if place.starts_with("postgres") {
            Self::Database(place.to_owned())
        } else {
            Self::Folder(place.into())
        }
    }

    async fn mib(&self) -> anyhow::Result<f64> {
        let bytes = match self {
            Self::Folder(folder) => size_of(folder)?,
            Self::Database(url) => u64::try_from(crate::floor::sql::size(url).await?)?,
        };
        Ok(bytes as f64 / 1024.0 / 1024.0)
    }
}

fn size_of(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        sum += if data.is_dir() {
            size_of(&entry.path())?
        } else {
            data.len()
        };
    }
    Ok(sum)
}

/// One long round: a burst, so many runs, as many again, and the burst once more.
pub(crate) async fn round(ground: &Ground, stored: Option<&Stored>) -> anyhow::Result<Round> {
    let scale = ground.scale;
    let until = Instant::now() + scale.soak_limit;
    let mut round = Round::default();
    let burst = (scale.soak / 10).max(CLIENTS);
    let mut soak = Soak {
        ground,
        until,
        runs: 0,
        wrong: 0,
    };
    // The first burst comes after a warm-up, or the second would look better than it is.
    soak.up_to(burst).await?;
    let before = soak.burst(burst).await?;
    round.set("burst_first_per_s", before);
    soak.up_to(scale.soak / 5).await?;
    soak.note(&mut round, "early", stored).await?;
    soak.up_to(scale.soak).await?;
    soak.note(&mut round, "late", stored).await?;
    soak.up_to(scale.old).await?;
    let after = soak.burst(burst).await?;
    round.set("burst_last_per_s", after);
    round.set("burst_kept", after / before);
    round.set("samples", soak.runs as f64);
    round.set("wrong", soak.wrong as f64);
    let both = |name: &str| {
        let figure = |when: &str| round.get(&format!("{name}_{when}_mib"));
        figure("early").zip(figure("late"))
    };
    let (memory, disk) = (both("memory"), both("stored"));
    if let Some((early, late)) = memory {
        round.set("memory_growth", late / early - 1.0);
    }
    if let Some((early, late)) = disk {
        let runs = (scale.soak - scale.soak / 5) as f64;
        round.set("stored_kib_per_run", (late - early) * 1024.0 / runs);
    }
    Ok(round)
}

struct Soak<'a> {
    ground: &'a Ground,
    until: Instant,
    runs: usize,
    wrong: usize,
}

impl Soak<'_> {
    async fn go(&mut self, runs: usize) -> anyhow::Result<()> {
        let each = runs.div_ceil(CLIENTS);
        let enough = Enough::Runs(each, self.until);
        let done = load(&self.ground.server, CLIENTS, enough).await?;
        self.runs += done.runs;
        self.wrong += done.wrong;
        ensure!(
            done.runs == each * CLIENTS,
            "out of time after {} runs in {:?}",
            self.runs,
            self.ground.scale.soak_limit
        );
        Ok(())
    }

    /// Goes on until there were so many runs.
    async fn up_to(&mut self, runs: usize) -> anyhow::Result<()> {
        match runs.saturating_sub(self.runs) {
            0 => Ok(()),
            missing => self.go(missing).await,
        }
    }

    /// So many runs, and how many in a second.
    async fn burst(&mut self, runs: usize) -> anyhow::Result<f64> {
        let (began, had) = (Instant::now(), self.runs);
        self.go(runs).await?;
        Ok(rate(self.runs - had, began.elapsed()))
    }

    async fn note(
        &self,
        round: &mut Round,
        when: &str,
        stored: Option<&Stored>,
    ) -> anyhow::Result<()> {
        // Memory that was only lent for a moment is given back by then.
        tokio::time::sleep(Duration::from_millis(500)).await;
        if !self.ground.processes.is_empty() {
            let memory = self.ground.processes.memory_mib();
            round.set(&format!("memory_{when}_mib"), memory);
        }
        if let Some(stored) = stored {
            round.set(&format!("stored_{when}_mib"), stored.mib().await?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_as_large_as_all_in_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        std::fs::write(folder.path().join("deep/a"), [0; 1000]).unwrap();
        std::fs::write(folder.path().join("b"), [0; 24]).unwrap();
        assert_eq!(size_of(folder.path()).unwrap(), 1024);
    }
}
