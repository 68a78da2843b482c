//! Somebody between us and the server, who counts what is asked and can fall silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Passes everything on as long as it lives.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    /// Statements executed, prepared or not.
    executed: AtomicU32,
    /// How often the server was asked whether it is ready for more.
    synced: AtomicU32,
    is_silent: AtomicBool,
}

impl Proxy {
    /// Stands before the server of the database at `url`.
    pub(crate) async fn start(url: &str) -> Self {
        let authority = url.split('@').nth(1).unwrap();
        let server = authority.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<State>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, state.clone()));
        Self {
            port,
            state,
            _tasks: tasks,
        }
    }

    /// The address of the same database through it.
    pub(crate) fn url(&self, url: &str) -> String {
        let (_, database) = url.rsplit_once('/').unwrap();
        let port = self.port;
        format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// How many statements were executed since it was asked last.
    pub(crate) fn executed(&self) -> u32 {
        self.state.executed.swap(0, Ordering::SeqCst)
    }

    /// How often the server was asked whether it is ready for more, since this was asked last: at the end
    /// of each statement, and by whoever wants to know whether a connection is still good.
    pub(crate) fn synced(&self) -> u32 {
        self.state.synced.swap(0, Ordering::SeqCst)
    }

    /// Keeps its connections and passes nothing on, or does so again for new ones.
    pub(crate) fn be_silent(&self, is_silent: bool) {
        self.state.is_silent.store(is_silent, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, server: String, state: Arc<State>) {
    let mut tasks = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let upstream = TcpStream::connect(&server).await.unwrap();
        // As its ends do: it shall not make anybody wait.
        client.set_nodelay(true).unwrap();
        upstream.set_nodelay(true).unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = upstream.into_split();
        tasks.spawn(requests(from_client, to_server, state.clone()));
        tasks.spawn(answers(from_server, to_client));
    }
}

/// Passes messages on to the server: a letter, a length, the rest.
async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: Arc<State>) {
    let mut is_first = true;
    loop {
        // The first message has no letter.
        let mut message = vec![0; if is_first { 4 } else { 5 }];
        if from.read_exact(&mut message).await.is_err() {
            return;
        }
        let length = message.last_chunk::<4>().unwrap();
        let length = u32::from_be_bytes(*length) as usize;
        let head = message.len();
        message.resize(head + length - 4, 0);
        if from.read_exact(&mut message[head..]).await.is_err() {
            return;
        }
        let is_statement = !is_first && matches!(message[0], b'E' | b'Q');
        let is_sync = !is_first && message[0] == b'S';
        is_first = false;
        if state.is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if is_statement {
            state.executed.fetch_add(1, Ordering::SeqCst);
        }
        if is_sync {
            state.synced.fetch_add(1, Ordering::SeqCst);
        }
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ended = tokio::io::copy(&mut from, &mut to).await;
}
