//! The servers that tests start for themselves do what the tests count on.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use runloom_testkit::services::nats::{Cluster, Server as Nats, Version};
use runloom_testkit::services::pgbouncer::Server as PgBouncer;
use runloom_testkit::services::postgres::{Server as Postgres, psql};
use runloom_testkit::services::shared;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

/// What the server at `url` says first.
async fn greeting(url: &str) -> std::io::Result<String> {
    let address = url.strip_prefix("nats://").expect("a NATS URL");
    let stream = tokio::net::TcpStream::connect(address).await?;
    let mut line = String::new();
    let mut stream = BufReader::new(stream);
    stream.read_line(&mut line).await?;
    Ok(line)
}

/// Sends a request over NATS and returns what came back, without a client library.
async fn request(url: &str, subject: &str, body: &str) -> String {
    let address = url.strip_prefix("nats://").expect("a NATS URL");
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    let size = body.len();
    let text = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {size}\r\n{body}\r\nPING\r\n"
    );
    stream.write_all(text.as_bytes()).await.expect("it is sent");
    let (mut all, mut buffer) = (String::new(), [0; 4096]);
    while !(all.contains("MSG answer") && all.ends_with("}\r\n")) {
        let read = stream.read(&mut buffer).await.expect("an answer");
        assert!(read > 0, "the server closed the connection: {all}");
        all.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    all
}

const STREAM: &str = r#"{"name":"S","subjects":["s.>"],"storage":"file"}"#;

fn is_open(url: &str) -> bool {
    let address = url.rsplit('@').next().expect("a URL");
    let address = address.trim_start_matches("nats://");
    TcpStream::connect(address.split('/').next().expect("a host")).is_ok()
}

#[tokio::test]
async fn the_shared_servers_answer() {
    let (one, two) = (shared::new_database().await, shared::new_database().await);
    assert_ne!(one, two);
    assert!(is_open(&shared::database_url()));
    let newest = greeting(&shared::nats_url()).await.expect("a greeting");
    let floor = greeting(&shared::nats_floor_url())
        .await
        .expect("a greeting");
    assert!(newest.contains("\"jetstream\":true"), "{newest}");
    assert!(floor.contains("\"version\":\"2.11."), "{floor}");
}

#[tokio::test]
async fn postgres_keeps_what_it_committed_through_every_kind_of_end() {
    let mut server = Postgres::start().await;
    let url = server.create_database("apart").await;
    assert_eq!(url, server.database_url("apart"));
    server.sql("CREATE TABLE t (n int)").await;

    server.sql("INSERT INTO t VALUES (1)").await;
    server.stop().await;
    assert!(!is_open(&server.url()), "it is stopped");
    server.restart().await;

    server.sql("INSERT INTO t VALUES (2)").await;
    server.stop_immediately().await;
    assert!(!is_open(&server.url()), "it is stopped");
    server.restart().await;

    server.sql("INSERT INTO t VALUES (3)").await;
    server.kill();
    assert!(!is_open(&server.url()), "it is killed");
    server.restart().await;
    assert_eq!(server.sql("SELECT n FROM t ORDER BY n").await, "1\n2\n3");
    assert_eq!(server.sql("SHOW synchronous_commit").await, "on");
}

#[tokio::test]
async fn a_killed_postgres_leaves_no_busy_session_behind() {
    let mut server = Postgres::start().await;
    let url = server.url();
    let session = psql(
        &url,
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
    );
    let busy = async {
        let pid = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%count%' AND pid <> pg_backend_pid()";
        loop {
            let pid = psql(&url, pid).await;
            if !pid.is_empty() {
                break pid;
            }
        }
    };
    let pid = tokio::select! {
        _ = session => panic!("it counts for hours"),
        pid = busy => pid,
    };
    server.kill();
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(
        state.is_empty() || state.contains(") Z "),
        "it goes on: {state}"
    );
    server.restart().await;
}

#[tokio::test]
async fn settings_hold_from_the_start_or_from_when_they_are_set() {
    let server = Postgres::start_with(&[("max_connections", "20")]).await;
    assert_eq!(server.sql("SHOW max_connections").await, "20");
    server.set("work_mem", "'7MB'").await;
    assert_eq!(server.sql("SHOW work_mem").await, "7MB");
}

#[tokio::test]
async fn a_promoted_standby_has_every_commit() {
    let mut primary = Postgres::start().await;
    primary.sql("CREATE TABLE t (n int)").await;
    let standby = primary.add_standby("second").await;
    for n in 0..20 {
        primary.sql(&format!("INSERT INTO t VALUES ({n})")).await;
    }
    primary.kill();
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()").await, "t");
    standby.promote().await;
    assert_eq!(standby.sql("SELECT count(*) FROM t").await, "20");
    standby.sql("INSERT INTO t VALUES (20)").await;
}

#[tokio::test]
async fn pgbouncer_shares_its_sessions_and_survives_a_restart() {
    let postgres = Postgres::start().await;
    let mut pgbouncer = PgBouncer::start_with(&postgres, &[("default_pool_size", "1")]).await;
    let url = pgbouncer.database_url("postgres");
    let backend = || psql(&url, "SELECT pg_backend_pid()");
    let first = backend().await;
    assert_eq!(
        backend().await,
        first,
        "another client has the same session"
    );
    pgbouncer.restart().await;
    assert_ne!(backend().await, first, "a new session");
}

#[tokio::test]
async fn nats_keeps_its_streams_unless_they_are_wiped() {
    for version in [Version::Floor, Version::Newest] {
        let mut server = Nats::start(version).await;
        let greeting = greeting(&server.url()).await.expect("a greeting");
        assert_eq!(
            greeting.contains("\"version\":\"2.11."),
            version == Version::Floor,
            "{greeting}"
        );
        request(&server.url(), "$JS.API.STREAM.CREATE.S", STREAM).await;

        server.kill();
        assert!(!is_open(&server.url()), "it is killed");
        server.restart().await;
        server.stop().await;
        assert!(!is_open(&server.url()), "it is stopped");
        server.restart().await;
        let names = request(&server.url(), "$JS.API.STREAM.NAMES", "").await;
        assert!(names.contains("\"streams\":[\"S\"]"), "{names}");

        server.wipe();
        server.restart().await;
        let names = request(&server.url(), "$JS.API.STREAM.NAMES", "").await;
        assert!(
            names.contains("\"streams\":null") || names.contains("\"streams\":[]"),
            "{names}"
        );
    }
}

#[tokio::test]
async fn a_paused_nats_server_answers_when_it_goes_on() {
    let server = Nats::start_with(Version::Newest, "max_payload: 4242").await;
    server.pause();
    let url = server.url();
    let mut answer = Box::pin(greeting(&url));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut answer).await;
    assert!(early.is_err(), "it is paused: {early:?}");
    server.resume();
    let answer = answer.await.expect("a greeting");
    assert!(answer.contains("\"max_payload\":4242"), "{answer}");
}

#[tokio::test]
async fn a_cluster_elects_another_leader() {
    let mut cluster = Cluster::start(Version::Newest).await;
    assert_eq!(cluster.url().split(',').count(), 3);
    let killed = cluster.kill_leader().await;
    let next = cluster.leader().await;
    assert_ne!(next, killed);
    let replicated = r#"{"name":"S","subjects":["s.>"],"num_replicas":3}"#;
    cluster.servers[killed].restart().await;
    let answer = request(
        &cluster.servers[next].url(),
        "$JS.API.STREAM.CREATE.S",
        replicated,
    )
    .await;
    assert!(answer.contains("\"num_replicas\":3"), "{answer}");
}

#[tokio::test]
async fn a_dropped_server_leaves_nothing() {
    let postgres = Postgres::start().await;
    let pgbouncer = PgBouncer::start(&postgres).await;
    let nats = Nats::start(Version::Newest).await;
    nats.pause();
    let folders = [postgres.folder(), pgbouncer.folder(), nats.folder()].map(Path::to_owned);
    let urls = [
        postgres.url(),
        pgbouncer.database_url("postgres"),
        nats.url(),
    ];
    assert!(folders.iter().all(|folder| folder.exists()) && urls.iter().all(|url| is_open(url)));
    drop((pgbouncer, postgres, nats));
    for (folder, url) in folders.iter().zip(urls) {
        assert!(
            !folder.exists() && !is_open(&url),
            "{} {url}",
            folder.display()
        );
    }
}
