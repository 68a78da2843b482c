//! The servers of one storm, all private: Postgres, NATS, gateways and workers as processes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use runloom_testkit::services::{nats, postgres};
use serde::de::DeserializeOwned;
use serde_json::json;
use tempfile::TempDir;

use crate::client::Http;
use crate::dump::{Dump, Message, State};
use crate::netns::Hosts;
use crate::process::Role;
use crate::records::Records;

/// How many gateways and workers there are.
pub(crate) const GATEWAYS: usize = 2;
pub(crate) const WORKERS: usize = 3;

/// How long a worker's lease is, in seconds.
pub(crate) const LEASE: f64 = 3.0;

/// Everything that can be broken.
pub(crate) struct World {
    pub(crate) postgres: postgres::Server,
    pub(crate) nats: nats::Server,
    /// The gateways, then the workers.
    pub(crate) roles: Vec<Role>,
    pub(crate) http: Http,
    /// The hosts of the processes, if each has its own.
    pub(crate) hosts: Option<Hosts>,
    /// Where the workers tell their metrics.
    pub(crate) monitors: Vec<String>,
    folder: TempDir,
}

impl World {
    /// Starts everything, with the product at `first`; each process on a host of its own if `apart`.
    /// What is started again later is that at `then`.
    pub(crate) async fn start(first: &Path, then: &Path, apart: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let postgres = postgres::Server::start().await;
        let nats = nats::Server::start(nats::Version::Newest).await;
        let hosts = if apart {
            let port = nats
                .url()
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok());
            let nats = port.expect("a port");
            Some(Hosts::new(GATEWAYS + WORKERS, postgres.port(), nats).await)
        } else {
            None
        };
        let places = free_ports(GATEWAYS + WORKERS);
        let places = places.into_iter().enumerate().map(|(at, port)| Place {
            binary: first,
            folder: folder.path(),
            port,
            host: hosts
                .as_ref()
                .map_or("127.0.0.1".to_owned(), |hosts| hosts.host(at)),
            prefix: hosts
                .as_ref()
                .map(|hosts| hosts.command(at).to_vec())
                .unwrap_or_default(),
            servers: match &hosts {
                Some(hosts) => hosts.servers(at),
                None => (postgres.url(), nats.url()),
            },
        });
        let places: Vec<_> = places.collect();
        let (gateways, workers) = places.split_at(GATEWAYS);
        let urls = gateways.iter().map(Place::url);
        let monitors = workers
            .iter()
            .map(|worker| format!("{}/metrics", worker.url()));
        let (http, monitors) = (Http::new(urls.collect()), monitors.collect());
        let gateways = gateways.iter().enumerate();
        let gateways = gateways.map(|(at, place)| place.gateway(&format!("gateway-{at}")));
        let workers = workers.iter().enumerate();
        let workers = workers.map(|(at, place)| place.worker(&format!("worker-{at}")));
        let roles = gateways.chain(workers).collect();
        drop(places);
        let mut world = Self {
            postgres,
            nats,
            roles,
            http,
            hosts,
            monitors,
            folder,
        };
        // The first brings the schema; the others must find it.
        world.roles[0].start();
        world.up().await;
        for role in &mut world.roles[1..] {
            role.start();
        }
        for role in &mut world.roles {
            role.replace(then);
        }
        world
    }

    /// Waits until a gateway answers.
    pub(crate) async fn up(&self) {
        let up = self.http.insist("/ok", None).await;
        assert!(
            up.is_some(),
            "no gateway came up, see {}",
            self.folder().display()
        );
    }

    /// Where the logs are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps the logs beyond the storm and says where they are.
    pub(crate) fn keep(&mut self, target: &Path) {
        let logs = self.roles.iter().map(Role::log);
        for log in logs {
            let name = log.file_name().expect("a log has a name");
            let _ = std::fs::copy(log, target.join(name));
        }
        let _ = std::fs::copy(
            self.postgres.folder().join("log"),
            target.join("postgres.log"),
        );
        let _ = std::fs::copy(self.nats.folder().join("log"), target.join("nats.log"));
    }

    /// What the processes logged.
    pub(crate) fn records(&self) -> Records {
        let mut records = Records::default();
        for role in &self.roles {
            records.read(role.log());
        }
        records
    }

    /// Waits until no run is in flight. The seconds it took, or `None` if it took longer than `patience`.
    pub(crate) async fn quiet(&self, patience: Duration) -> Option<f64> {
        let began = Instant::now();
        let busy = "select (select count(*) from runs where status in ('pending', 'running')) \
                    + (select count(*) from threads where status = 'busy')";
        while began.elapsed() < patience {
            if self.postgres.sql(busy).await == "0" {
                return Some(began.elapsed().as_secs_f64());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        None
    }

    /// What is stored, and what the gateways show.
    pub(crate) async fn dump(&self) -> Dump {
        let threads = "select id, status, failed, unfinished, held_run from threads";
        let runs = "select id, thread_id, seq, created_at, updated_at, status, attempt, \
                    superseded_by, metadata ->> 'mark' as mark from runs";
        let checkpoints = "select thread_id, id, parent, run_id from checkpoints where ns = ''";
        let traces = ["checkpoints", "channel_blobs", "pending_writes"].map(|table| {
            format!(
                "select distinct '{table}' as \"table\", thread_id, run_id from {table} \
                 where run_id is not null"
            )
        });
        let traces: Vec<_> = self.rows(&traces.join(" union all ")).await;
        let mut dump = Dump {
            threads: self.rows(threads).await,
            runs: self.rows(runs).await,
            checkpoints: self.rows(checkpoints).await,
            traces: BTreeSet::from_iter(traces),
            states: BTreeMap::new(),
        };
        let shown = dump.threads.iter().map(async |thread| {
            let state = self.state(&thread.id).await;
            (thread.id.clone(), state)
        });
        dump.states = join_all(shown).await.into_iter().collect();
        dump
    }

    async fn rows<T: DeserializeOwned>(&self, query: &str) -> Vec<T> {
        let query = format!("select coalesce(json_agg(t), '[]') from ({query}) t");
        let rows = self.postgres.sql(&query).await;
        serde_json::from_str(&rows).expect("rows as expected")
    }

    async fn state(&self, thread: &str) -> State {
        let path = format!("/threads/{thread}");
        let shown = self.http.insist(&path, None).await.expect("a thread");
        let state = self.http.insist(&format!("{path}/state"), None).await;
        let state = state.expect("a thread's state");
        let all = json!({"limit": 1000});
        let history = self
            .http
            .insist(&format!("{path}/history"), Some(&all))
            .await;
        let history = history.expect("a thread's history");
        let messages = state["values"]["messages"].as_array();
        let history = history.as_array().into_iter().flatten();
        State {
            status: shown["status"].as_str().unwrap_or_default().to_owned(),
            has_next: state["next"]
                .as_array()
                .is_some_and(|next| !next.is_empty()),
            messages: messages.into_iter().flatten().map(Message::of).collect(),
            history: history
                .filter_map(|state| Some(state["checkpoint_id"].as_str()?.to_owned()))
                .collect(),
        }
    }
}

/// Where a process is started.
struct Place<'a> {
    binary: &'a Path,
    folder: &'a Path,
    /// The command by which it gets there.
    prefix: Vec<String>,
    host: String,
    port: u16,
    /// The URLs of Postgres and NATS.
    servers: (String, String),
}

impl Place<'_> {
    fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// A gateway.
    fn gateway(&self, name: &str) -> Role {
        let port = self.port.to_string();
        let host = self.host.as_str();
        let own = ["--host", host, "--port", &port, "--end-event", "--migrate"];
        self.role(name, "gateway", &own)
    }

    /// A worker that tells its metrics.
    fn worker(&self, name: &str) -> Role {
        let monitor = format!("{}:{}", self.host, self.port);
        let own = [
            "--monitor",
            &monitor,
            "--slots",
            "40",
            "--max-attempts",
            "50",
        ];
        self.role(name, "worker", &own)
    }

    fn role(&self, name: &str, role: &str, own: &[&str]) -> Role {
        let lease = LEASE.to_string();
        let (database, nats) = &self.servers;
        let common = [
            role,
            "--database-url",
            database,
            "--nats-url",
            nats,
            "--test-graphs",
            "--lease",
            &lease,
            "--drain-budget",
            "3",
            "--log",
            "info",
            "--log-format",
            "json",
        ];
        let arguments = common.iter().chain(own).map(|&word| word.to_owned());
        let arguments: Vec<_> = arguments.collect();
        Role::new(name, self.binary, &arguments, self.folder).by(&self.prefix)
    }
}

/// Free loopback ports, below those of outgoing connections.
fn free_ports(count: usize) -> Vec<u16> {
    let mut ports = BTreeSet::new();
    while ports.len() < count {
        let port = fastrand::u16(10_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.insert(port);
        }
    }
    ports.into_iter().collect()
}
