//! What the tests on NATS share.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod proxy;

use runloom_bus::nats::{Nats, Options, State, Storage};
use runloom_core::ids::RunId;
use tokio::time::{Duration, timeout};

/// Longer than anything takes that comes at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Options with a prefix that nobody else has, and little on disk.
pub(crate) fn options(url: &str) -> Options {
    let unique = RunId::new().to_string().replace('-', "");
    Options {
        prefix: format!("t{unique}"),
        storage: Storage::Memory,
        event_shards: 2,
        event_bytes: 64 << 20,
        wake_bytes: 4 << 20,
        lifecycle_bytes: 4 << 20,
        ..Options::new(url.split(','))
    }
}

/// A bus that works.
pub(crate) async fn connect(options: Options) -> Nats {
    let nats = Nats::connect(options).await.expect("usable options");
    connected(&nats).await;
    nats
}

/// Waits until all of the bus works.
pub(crate) async fn connected(nats: &Nats) {
    let mut state = nats.state();
    let usable = timeout(PATIENCE, state.wait_for(|state| *state == State::Connected)).await;
    assert!(matches!(usable, Ok(Ok(_))), "{:?}", *nats.state().borrow());
}

/// Deletes the streams that a test leaves on a shared server.
pub(crate) struct Leftovers {
    url: String,
    prefix: String,
}

impl Leftovers {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            url: options.urls.join(","),
            prefix: options.prefix.to_uppercase(),
        }
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let (url, prefix) = (self.url.clone(), self.prefix.clone());
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(delete_streams(&url, &prefix));
        });
        deleting.join().expect("the streams are deleted");
    }
}

/// Deletes all streams whose names begin with `prefix`.
pub(crate) async fn delete_streams(url: &str, prefix: &str) {
    use futures::TryStreamExt;
    let client = async_nats::connect(url).await.expect("the server is there");
    let context = async_nats::jetstream::new(client);
    let names: Vec<String> = context.stream_names().try_collect().await.expect("names");
    for name in names.iter().filter(|name| name.starts_with(prefix)) {
        context.delete_stream(name).await.expect("deleted");
    }
}
