//! Private NATS servers with JetStream, alone or as a cluster of three.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{Port, Process, folder, until};
use super::{http, variable};

/// Which server to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The oldest that is supported.
    Floor,
    /// The newest there is.
    Newest,
}

/// A NATS server of the test's own, on one loopback port for its whole life.
pub struct Server {
    process: Option<Process>,
    version: Version,
    name: String,
    port: Port,
    monitor: Port,
    /// Where the others reach it, if it is one of a cluster.
    route: Port,
    /// The arguments of every start.
    arguments: Vec<String>,
    folder: TempDir,
}

impl Server {
    /// Makes a fresh server and starts it.
    pub async fn start(version: Version) -> Self {
        Self::start_with(version, "").await
    }

    /// Like `start`, with further configuration in the server's own language, such as accounts,
    /// permissions, TLS or `jetstream { domain: leaf }`. Addresses and folders stay ours.
    pub async fn start_with(version: Version, config: &str) -> Self {
        let mut server = Self::new(version, "single", config);
        server.restart().await;
        server
    }

    /// Chooses what a server is started with.
    fn new(version: Version, name: &str, config: &str) -> Self {
        let (folder, port, monitor) = (folder(None), Port::choose(), Port::choose());
        let file = folder.path().join("config");
        fs::write(&file, config).expect("the configuration");
        // Arguments win over the file.
        let arguments = format!("-a 127.0.0.1 -p {port} -m {monitor} -n {name} -js");
        let mut arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        let store = folder.path().join("store");
        arguments.extend(["-sd".into(), store.display().to_string()]);
        arguments.extend(["-c".into(), file.display().to_string()]);
        let name = name.to_owned();
        Self {
            process: None,
            version,
            name,
            port,
            monitor,
            route: Port::choose(),
            arguments,
            folder,
        }
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The server's name, as it says it to clients.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's folder: the streams in `store`, what the server printed in `log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops in order.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM);
            process.ended().await;
        }
    }

    /// Starts again on the same port and store, and waits until `JetStream` answers; kills it first if
    /// it runs.
    pub async fn restart(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// What a page of its monitor shows, such as `/connz`.
    pub async fn shown(&self, page: &str) -> serde_json::Value {
        let text = http::get(self.monitor.number(), page).await;
        let text = text.expect("the monitor answers");
        serde_json::from_str(&text).expect("JSON")
    }

    /// kill -9 if it runs, and all streams are gone. The next `restart` finds an empty store.
    pub fn wipe(&mut self) {
        self.kill();
        let store = self.folder.path().join("store");
        if store.exists() {
            fs::remove_dir_all(store).expect("the store can be removed");
        }
    }

    /// Stops it in its tracks: its connections stay open and nothing answers.
    pub fn pause(&self) {
        self.running().pause();
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.running().signal(Signal::CONT);
    }

    /// Whether it was started and not killed or stopped since.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server runs")
    }

    fn launch(&mut self) {
        self.kill();
        let program = PathBuf::from(variable(match self.version {
            Version::Floor => "RUNLOOM_TEST_NATS_FLOOR_BIN",
            Version::Newest => "RUNLOOM_TEST_NATS_BIN",
        }));
        let log = self.folder.path().join("log");
        self.process = Some(Process::start(&program, &self.arguments, None, &log));
    }

    async fn ready(&mut self) {
        let process = self.process.as_mut().expect("the server was launched");
        let monitor = self.monitor.number();
        process
            .ready(async || http::get(monitor, "/healthz").await.is_some())
            .await;
    }

    /// The name of the server that leads the cluster's `JetStream`, as far as this one knows.
    async fn known_leader(&self) -> Option<String> {
        let page = http::get(self.monitor.number(), "/jsz").await?;
        let page: serde_json::Value = serde_json::from_str(&page).ok()?;
        let leader = page["meta_cluster"]["leader"].as_str()?;
        (!leader.is_empty()).then(|| leader.to_owned())
    }
}

/// Three servers that share their streams; clients may connect to any.
pub struct Cluster {
    /// The servers, to be killed, paused and restarted one by one.
    pub servers: Vec<Server>,
}

impl Cluster {
    /// Makes a fresh cluster, and waits until it has a leader and every server answers.
    pub async fn start(version: Version) -> Self {
        Self::start_with(version, "").await
    }

    /// Like `start`, with further configuration of every server.
    pub async fn start_with(version: Version, config: &str) -> Self {
        let names = ["n0", "n1", "n2"];
        let mut servers: Vec<Server> = names.map(|name| Server::new(version, name, config)).into();
        let route = |server: &Server| format!("nats://127.0.0.1:{}", server.route);
        let routes: Vec<String> = servers.iter().map(route).collect();
        let routes = routes.join(",");
        for server in &mut servers {
            let own = route(server);
            let options = [
                "--cluster_name",
                "runloom",
                "--cluster",
                &own,
                "--routes",
                &routes,
            ];
            server.arguments.extend(options.map(str::to_owned));
        }
        for server in &mut servers {
            server.launch();
        }
        for server in &mut servers {
            server.ready().await;
        }
        let cluster = Self { servers };
        cluster.leader().await;
        cluster
    }

    /// The URLs of all servers, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.servers.iter().map(Server::url).collect();
        urls.join(",")
    }

    /// Waits until the running servers agree on a leader among them, and returns its place.
    pub async fn leader(&self) -> usize {
        let mut leader = None;
        until("the cluster's leader", async || {
            leader = self.agreed_leader().await;
            leader.is_some()
        })
        .await;
        leader.expect("it was awaited")
    }

    /// kill -9 of the leader. Returns its place; the others elect a new one within seconds.
    pub async fn kill_leader(&mut self) -> usize {
        let leader = self.leader().await;
        self.servers[leader].kill();
        leader
    }

    async fn agreed_leader(&self) -> Option<usize> {
        let mut agreed = None;
        for server in self.servers.iter().filter(|server| server.is_running()) {
            let known = server.known_leader().await?;
            if agreed.get_or_insert_with(|| known.clone()) != &known {
                return None;
            }
        }
        let agreed = agreed?;
        let place = self
            .servers
            .iter()
            .position(|server| server.name == agreed)?;
        self.servers[place].is_running().then_some(place)
    }
}
