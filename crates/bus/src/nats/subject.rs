//! Every subject, stream and consumer name, and nothing else knows how they are made.
//!
//! `<o>` is the prefix, `<cell>` one shard of an installation, ids are written as in the HTTP API.
//!
//! | subject | what |
//! |---|---|
//! | `<o>.<cell>.disp.<pool>.<partition>.<thread>` | wake-ups, kept in a work queue |
//! | `<o>.<cell>.wake.<pool>` | wake-ups while the work queue does not acknowledge; queue group `w` |
//! | `<o>.<cell>.ctl.w.<worker>.interrupt` | signals to one incarnation of a worker; request and reply |
//! | `<o>.<cell>.st.<thread>` | changes of the runs of a thread |
//! | `<o>.<cell>.ev.<shard>.<thread>.<run>` | frames of events of a run, kept for a while |
//! | `<o>.<cell>.run.<status>.<thread>.<run>` | what happens to runs, kept for a day |
//! | `<o>.<cell>.api.<operation>` | calls of the API; request and reply, queue group `api` |
//! | `<o>.<cell>.nobody` | nobody listens: the refusal says that the server is up to here |

use runloom_core::ids::{RunId, ThreadId, WorkerId};
use runloom_core::lifecycle::LifecycleEvent;

/// The queue group of those who hear [`Subjects::wake`].
pub(super) const WAKE_GROUP: &str = "w";

/// The queue group of those who answer [`Subjects::api`].
pub(super) const SERVICE_GROUP: &str = "api";

/// Among so many partitions threads are spread, so that a pool can be split without its publishers.
const PARTITIONS: u32 = 256;

/// Makes names for one cell and one pool of workers.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    root: String,
    streams: String,
    cell: String,
    pool: String,
    shards: u32,
    api: String,
}

impl Subjects {
    /// Names with these parts; each must be valid, see [`is_name`].
    pub(super) fn new(prefix: &str, cell: &str, pool: &str, shards: u32, api: String) -> Self {
        Self {
            root: format!("{prefix}.{cell}"),
            streams: prefix.to_uppercase().replace('.', "_"),
            cell: cell.to_owned(),
            pool: pool.to_owned(),
            shards: shards.max(1),
            api,
        }
    }

    /// Where a thread's wake-ups go.
    pub(super) fn dispatch(&self, thread: ThreadId) -> String {
        let id = thread.to_string();
        let partition = fnv1a32(id.as_bytes()) % PARTITIONS;
        format!("{}.disp.{}.{partition}.{id}", self.root, self.pool)
    }

    /// Where the wake-ups of all pools go.
    pub(super) fn all_dispatch(&self) -> String {
        format!("{}.disp.>", self.root)
    }

    /// Where the wake-ups of this pool go.
    pub(super) fn pool_dispatch(&self) -> String {
        format!("{}.disp.{}.>", self.root, self.pool)
    }

    /// The thread that a wake-up on `subject` is for.
    pub(super) fn thread_of(subject: &str) -> Option<ThreadId> {
        subject.rsplit('.').next()?.parse().ok()
    }

    /// Where wake-ups go that the work queue does not acknowledge.
    pub(super) fn wake(&self) -> String {
        format!("{}.wake.{}", self.root, self.pool)
    }

    /// Where signals to `worker` go.
    pub(super) fn interrupt(&self, worker: WorkerId) -> String {
        format!("{}.ctl.w.{worker}.interrupt", self.root)
    }

    /// Where changes of the runs of `thread` go.
    pub(super) fn changes(&self, thread: ThreadId) -> String {
        format!("{}.st.{thread}", self.root)
    }

    /// Where changes of the runs of all threads go.
    pub(super) fn all_changes(&self) -> String {
        format!("{}.st.*", self.root)
    }

    /// Where the events of `run` go.
    pub(super) fn events(&self, thread: ThreadId, run: RunId) -> String {
        format!("{}.ev.{}.{thread}.{run}", self.root, self.shard(run))
    }

    /// Where the events of the runs of one shard go.
    pub(super) fn shard_events(&self, shard: u32) -> String {
        format!("{}.ev.{shard}.>", self.root)
    }

    /// Where an event of a run's life goes.
    pub(super) fn lifecycle(&self, event: &LifecycleEvent) -> String {
        let LifecycleEvent {
            stage,
            thread_id,
            run_id,
            ..
        } = event;
        format!("{}.run.{stage}.{thread_id}.{run_id}", self.root)
    }

    /// Where all events of runs' lives go.
    pub(super) fn all_lifecycle(&self) -> String {
        format!("{}.run.>", self.root)
    }

    /// The stream that keeps what happens to runs.
    pub(super) fn lifecycle_stream(&self) -> String {
        format!("{}_RUN_{}", self.streams, self.cell)
    }

    /// Where an operation of the API is called.
    pub(super) fn api(&self, operation: &str) -> String {
        format!("{}.api.{operation}", self.root)
    }

    /// Which shard of the installation this is.
    pub(super) fn cell(&self) -> &str {
        &self.cell
    }

    /// Where nobody listens.
    pub(super) fn nobody(&self) -> String {
        format!("{}.nobody", self.root)
    }

    /// The stream that keeps wake-ups.
    pub(super) fn dispatch_stream(&self) -> String {
        format!("{}_DISP_{}", self.streams, self.cell)
    }

    /// The consumer that all workers of the pool share.
    pub(super) fn consumer(&self) -> String {
        self.pool.clone()
    }

    /// The stream that keeps the events of one shard.
    pub(super) fn shard_stream(&self, shard: u32) -> String {
        format!("{}_EV_{}_{shard}", self.streams, self.cell)
    }

    /// The stream that keeps the events of `run`.
    pub(super) fn events_stream(&self, run: RunId) -> String {
        self.shard_stream(self.shard(run))
    }

    /// All shards.
    pub(super) fn shards(&self) -> std::ops::Range<u32> {
        0..self.shards
    }

    /// Where workers of the pool ask for wake-ups.
    pub(super) fn next_wakes(&self) -> String {
        let (stream, consumer) = (self.dispatch_stream(), self.consumer());
        format!("{}.CONSUMER.MSG.NEXT.{stream}.{consumer}", self.api)
    }

    /// Where messages that `stream` keeps are asked for.
    pub(super) fn direct_get(&self, stream: &str) -> String {
        format!("{}.DIRECT.GET.{stream}", self.api)
    }

    fn shard(&self, run: RunId) -> u32 {
        fnv1a32(run.to_string().as_bytes()) % self.shards
    }
}

/// Whether `text` can be part of subjects and of names of streams.
pub(super) fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !text.is_empty() && text.chars().all(fits)
}

/// The hash that the server itself uses for partitions.
fn fnv1a32(bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_the_server_uses() {
        // The published test vectors of FNV-1a with 32 bits.
        assert_eq!(fnv1a32(b""), 0x811c_9dc5);
        assert_eq!(fnv1a32(b"a"), 0xe40c_292c);
        assert_eq!(fnv1a32(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn subjects_and_streams_have_their_documented_names() {
        let subjects = Subjects::new("acme.runs", "c0", "default", 16, "$JS.hub.API".to_owned());
        let thread: ThreadId = "01990000-0000-7000-8000-000000000001".parse().unwrap();
        let subject = subjects.dispatch(thread);
        assert_eq!(Subjects::thread_of(&subject), Some(thread));
        let partition = fnv1a32(thread.to_string().as_bytes()) % 256;
        let expected = format!("acme.runs.c0.disp.default.{partition}.{thread}");
        assert_eq!(subject, expected);
        assert_eq!(subjects.dispatch_stream(), "ACME_RUNS_DISP_c0");
        assert_eq!(
            subjects.next_wakes(),
            "$JS.hub.API.CONSUMER.MSG.NEXT.ACME_RUNS_DISP_c0.default"
        );
        let run = RunId::from(thread.0);
        let stream = subjects.events_stream(run);
        let shard: u32 = stream.rsplit('_').next().unwrap().parse().unwrap();
        assert!(shard < 16);
        assert_eq!(
            subjects.events(thread, run),
            format!("acme.runs.c0.ev.{shard}.{thread}.{run}")
        );
    }
}
