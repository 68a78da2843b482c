//! What stands between a process and a server: it can stall, cut, and lead elsewhere.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections. Dropping it ends them.
pub(crate) struct Proxy {
    port: u16,
    way: Arc<watch::Sender<Way>>,
    _serving: JoinSet<()>,
}

/// Where connections lead, and whether anything passes.
#[derive(Clone, Copy, PartialEq)]
struct Way {
    target: u16,
    /// Connections of an older one are cut.
    generation: u64,
    flows: bool,
}

impl Proxy {
    /// Listens on a port of its own and leads to the port `target` of this machine.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let way = Way {
            target,
            generation: 0,
            flows: true,
        };
        let way = Arc::new(watch::Sender::new(way));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, way.clone()));
        Self {
            port,
            way,
            _serving: serving,
        }
    }

    /// Leads to the server at `url` from now on through this proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        let (before, after) = url.rsplit_once(':').expect("a URL with a port");
        let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{before}:{}{rest}", self.port)
    }

    /// Nothing passes any more, and nobody is told: as when a cable is pulled.
    pub(crate) fn stall(&self) {
        self.way.send_modify(|way| way.flows = false);
    }

    /// What was held up goes on.
    pub(crate) fn flow(&self) {
        self.way.send_modify(|way| way.flows = true);
    }

    /// Cuts all connections; new ones lead to another port.
    pub(crate) fn lead_to(&self, target: u16) {
        self.way.send_modify(|way| {
            way.target = target;
            way.generation += 1;
        });
    }
}

/// The port in a URL.
pub(crate) fn port_of(url: &str) -> u16 {
    let (_, after) = url.rsplit_once(':').expect("a URL with a port");
    let digits = after.split('/').next().unwrap_or_default();
    digits.parse().expect("a port")
}

async fn serve(listener: TcpListener, way: Arc<watch::Sender<Way>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        connections.spawn(forward(client, way.subscribe()));
    }
}

async fn forward(client: TcpStream, mut way: watch::Receiver<Way>) {
    let generation = way.borrow().generation;
    let forwarding = async |mut way: watch::Receiver<Way>| {
        let target = way.wait_for(|way| way.flows).await.ok()?.target;
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await;
        let server = server.ok()?;
        client_and_server(client, server, &way).await;
        Some(())
    };
    let current = way.clone();
    tokio::select! {
        _ = forwarding(current) => {}
        _ = way.wait_for(|way| way.generation != generation) => {}
    }
}

async fn client_and_server(client: TcpStream, server: TcpStream, way: &watch::Receiver<Way>) {
    // Small messages are not to wait for each other here.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // When one direction ends, so does the other.
    tokio::select! {
        _ = pump(from_client, to_server, way.clone()) => {}
        _ = pump(from_server, to_client, way.clone()) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) -> Option<()> {
    let mut buffer = vec![0; 1 << 14];
    loop {
        let count = from.read(&mut buffer).await.ok()?;
        way.wait_for(|way| way.flows).await.ok()?;
        if count == 0 {
            return None;
        }
        to.write_all(&buffer[..count]).await.ok()?;
    }
}
