//! Processes on hosts of their own, with cables that can be pulled: network namespaces, each with one
//! virtual cable to Postgres and one to NATS. Needs root and iproute2.
//!
//! At the other end of each cable, on this machine's side, a relay passes connections on to the real
//! server. While a cable is down, nothing that is sent arrives and nobody is told: connections stay
//! open and silent, as between machines.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The ports of the relays.
const POSTGRES: u16 = 5432;
const NATS: u16 = 4222;

/// What a cable leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cable {
    Postgres,
    Nats,
}

/// The hosts, and the relays between them and the servers.
pub(crate) struct Hosts {
    count: usize,
    tag: u32,
    relays: JoinSet<()>,
}

/// Why there cannot be any hosts here, if there cannot.
pub(crate) fn lacking() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("network namespaces are Linux'".to_owned());
    }
    let probe = format!("runloom-probe-{}", std::process::id());
    let made = ip(&["netns", "add", &probe]);
    let removed = ip(&["netns", "del", &probe]);
    made.and(removed).err()
}

impl Hosts {
    /// Makes `count` hosts with all their cables up.
    pub(crate) async fn new(count: usize, postgres: u16, nats: u16) -> Self {
        let mut hosts = Self {
            count,
            // Several tests may run at the same time, each with networks of its own.
            tag: std::process::id() % 100,
            relays: JoinSet::new(),
        };
        for host in 0..count {
            let name = hosts.name(host);
            // What a killed test has left.
            let _ = ip(&["netns", "del", &name]);
            must(&["netns", "add", &name]);
            must(&["-n", &name, "link", "set", "lo", "up"]);
            for (cable, relay, server) in [
                (Cable::Postgres, POSTGRES, postgres),
                (Cable::Nats, NATS, nats),
            ] {
                hosts.plug(host, cable);
                let address = format!("{}:{relay}", hosts.address(host, cable, 1));
                let listener = TcpListener::bind(address).await.expect("a relay's address");
                let server = SocketAddr::from(([127, 0, 0, 1], server));
                hosts.relays.spawn(relay_all(listener, server));
            }
        }
        hosts
    }

    /// The command that runs another one on `host`.
    pub(crate) fn command(&self, host: usize) -> [String; 4] {
        ["ip".into(), "netns".into(), "exec".into(), self.name(host)]
    }

    /// The URLs of Postgres and NATS as `host` knows them.
    pub(crate) fn servers(&self, host: usize) -> (String, String) {
        let postgres = self.address(host, Cable::Postgres, 1);
        let nats = self.address(host, Cable::Nats, 1);
        (
            format!("postgres://postgres@{postgres}:{POSTGRES}/postgres"),
            format!("nats://{nats}:{NATS}"),
        )
    }

    /// Where the processes on `host` are found from here.
    pub(crate) fn host(&self, host: usize) -> String {
        self.address(host, Cable::Postgres, 2)
    }

    /// Pulls a cable.
    pub(crate) fn cut(&self, host: usize, cable: Cable) {
        must(&["link", "set", &self.end(host, cable, 1), "down"]);
    }

    /// Puts it back.
    pub(crate) fn mend(&self, host: usize, cable: Cable) {
        must(&["link", "set", &self.end(host, cable, 1), "up"]);
    }

    fn plug(&self, host: usize, cable: Cable) {
        let (here, there) = (self.end(host, cable, 1), self.end(host, cable, 2));
        let name = self.name(host);
        must(&["link", "add", &here, "type", "veth", "peer", "name", &there]);
        must(&["link", "set", &there, "netns", &name]);
        let address = |side| format!("{}/30", self.address(host, cable, side));
        must(&["addr", "add", &address(1), "dev", &here]);
        must(&["link", "set", &here, "up"]);
        must(&["-n", &name, "addr", "add", &address(2), "dev", &there]);
        must(&["-n", &name, "link", "set", &there, "up"]);
    }

    fn name(&self, host: usize) -> String {
        format!("runloom-{}-{host}", self.tag)
    }

    /// One end of a cable: 1 is ours, 2 the host's.
    fn end(&self, host: usize, cable: Cable, side: u8) -> String {
        let cable = if cable == Cable::Postgres { 'p' } else { 'n' };
        format!("rl{}{cable}{host}s{side}", self.tag)
    }

    fn address(&self, host: usize, cable: Cable, side: u8) -> String {
        let cable = if cable == Cable::Postgres { 0 } else { 4 };
        format!("10.{}.{host}.{}", 128 + self.tag, cable + side)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in 0..self.count {
            // Their cables go with them.
            let _ = ip(&["netns", "del", &self.name(host)]);
        }
    }
}

async fn relay_all(listener: TcpListener, server: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((mut client, _)) = listener.accept() => {
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        let _ = server.set_nodelay(true);
                        let _ = client.set_nodelay(true);
                        // Either side may break off at any time.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn must(arguments: &[&str]) {
    ip(arguments).unwrap_or_else(|error| panic!("ip {}: {error}", arguments.join(" ")));
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
