//! What processes use, as the operating system counts it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often memory is looked at.
const EVERY: Duration = Duration::from_millis(400);

/// Processes, with all that they have started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    roots: Vec<u32>,
}

/// One line of the process table.
struct Entry {
    parent: u32,
    /// Processor time of the process and of the ended children that it has waited for, in ticks.
    ticks: u64,
}

impl Processes {
    pub(crate) fn of(roots: &[u32]) -> Self {
        Self {
            roots: roots.to_vec(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The roots that are not there.
    pub(crate) fn missing(&self) -> Vec<u32> {
        let all = table();
        let roots = self.roots.iter().copied();
        roots.filter(|root| !all.contains_key(root)).collect()
    }

    fn tree(&self) -> Vec<(u32, Entry)> {
        let mut all = table();
        let mut wanted = self.roots.clone();
        let mut found = Vec::new();
        while let Some(process) = wanted.pop() {
            let Some(entry) = all.remove(&process) else {
                continue;
            };
            let children = all.iter().filter(|(_, child)| child.parent == process);
            wanted.extend(children.map(|(child, _)| *child));
            found.push((process, entry));
        }
        found
    }

    /// The processor time that they have used so far, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> f64 {
        let ticks: u64 = self.tree().iter().map(|(_, entry)| entry.ticks).sum();
        millis(ticks)
    }

    /// Their memory in MiB: what they do not share, and their part of what they do.
    pub(crate) fn memory_mib(&self) -> f64 {
        let tree = self.tree();
        let kib: u64 = tree
            .iter()
            .filter_map(|(process, _)| memory_kib(*process))
            .sum();
        kib as f64 / 1024.0
    }
}

/// How memory is counted here.
pub(crate) fn memory_kind() -> &'static str {
    match proportional_kib(std::process::id()) {
        Some(_) => "PSS",
        None => "RSS",
    }
}

/// The processor time that this process has used so far, in milliseconds.
pub(crate) fn own_cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    millis(entry(&stat).map_or(0, |entry| entry.ticks))
}

fn millis(ticks: u64) -> f64 {
    ticks as f64 * 1000.0 / rustix::param::clock_ticks_per_second() as f64
}

fn memory_kib(process: u32) -> Option<u64> {
    proportional_kib(process).or_else(|| field(&format!("/proc/{process}/status"), "VmRSS:"))
}

fn proportional_kib(process: u32) -> Option<u64> {
    field(&format!("/proc/{process}/smaps_rollup"), "Pss:")
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn table() -> HashMap<u32, Entry> {
    let Ok(folders) = std::fs::read_dir("/proc") else {
        return HashMap::new();
    };
    let processes = folders.filter_map(|folder| {
        let process = folder.ok()?.file_name().to_str()?.parse().ok()?;
        // It may have ended meanwhile.
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        Some((process, entry(&stat)?))
    });
    processes.collect()
}

fn entry(stat: &str) -> Option<Entry> {
    // The second field is a name in parentheses, and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Entry {
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

/// Watches the memory of processes from a thread of its own.
pub(crate) struct Watch {
    ended: Arc<AtomicBool>,
    peak_kib: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn on(processes: &Processes) -> Self {
        let watch = Self {
            ended: Arc::default(),
            peak_kib: Arc::default(),
            thread: None,
        };
        if processes.is_empty() {
            return watch;
        }
        let (ended, peak) = (watch.ended.clone(), watch.peak_kib.clone());
        let processes = processes.clone();
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let kib = (processes.memory_mib() * 1024.0) as u64;
                peak.fetch_max(kib, Ordering::Relaxed);
                std::thread::park_timeout(EVERY);
            }
        });
        Self {
            thread: Some(thread),
            ..watch
        }
    }

    /// Ends the watch and gives the most that was seen, in MiB.
    pub(crate) fn end(mut self) -> Option<f64> {
        let thread = self.thread.take()?;
        self.ended.store(true, Ordering::Relaxed);
        thread.thread().unpark();
        thread.join().ok()?;
        Some(self.peak_kib.load(Ordering::Relaxed) as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn children_count_with_their_parents() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let tree = Processes::of(&[std::process::id()]).tree();
        let found: Vec<_> = tree.iter().map(|(process, _)| *process).collect();
        assert!(
            found.contains(&std::process::id()) && found.contains(&child.id()),
            "{found:?}"
        );
        assert!(Processes::of(&[child.id()]).memory_mib() > 0.0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(Processes::of(&[child.id()]).missing(), [child.id()]);
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_trouble() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5 6 7";
        let entry = entry(stat).unwrap();
        assert_eq!((entry.parent, entry.ticks), (3, 100));
    }

    #[test]
    fn a_watch_sees_the_most() {
        let watch = Watch::on(&Processes::of(&[std::process::id()]));
        let spent = own_cpu_ms();
        assert!(watch.end().is_some_and(|peak| peak >= 0.0));
        assert!(own_cpu_ms() >= spent);
        assert!(Watch::on(&Processes::default()).end().is_none());
    }
}
