//! A way to a server that can be frozen or cut.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How the way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Connections stay open and nothing moves.
    Frozen,
    /// Connections are closed, and none is let in.
    Cut,
}

/// A port that leads to a server.
pub(crate) struct Proxy {
    port: u16,
    way: Arc<watch::Sender<Way>>,
    _work: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(url: &str) -> Self {
        let server = url.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let way = Arc::new(watch::Sender::new(Way::Open));
        let mut work = JoinSet::new();
        let state = way.subscribe();
        work.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() == Way::Cut {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(&server).await {
                    let (client, server) = (client.into_split(), server.into_split());
                    connections.spawn(carry(client.0, server.1, state.clone()));
                    connections.spawn(carry(server.0, client.1, state.clone()));
                }
            }
        });
        Self {
            port,
            way,
            _work: work,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

/// Carries bytes one way until either side closes or the way is cut.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        if way.wait_for(|way| *way != Way::Frozen).await.is_err() || *way.borrow() == Way::Cut {
            return;
        }
        tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(count) if count > 0 => {
                    if to.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            changed = way.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
