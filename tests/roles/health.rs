//! How processes are, as those who look after them are told: while they start, while their database is
//! away, while they stop. And their numbers.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use runloom_testkit::services::Port;
use runloom_tests::http::Http;
use runloom_tests::numbers::{Page, documented};
use runloom_tests::process::Role;
use runloom_tests::product;
use runloom_tests::sse::Frames;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{WHOLE, ended};
use crate::site::{Site, slow, until};

/// A process with a port for those who look after it.
struct Watched {
    role: Role,
    port: Port,
    /// Asks there.
    http: Http,
}

impl Watched {
    /// Starts a role of the site.
    fn start(site: &Site, name: &str, role: &str, own: &[&str]) -> Self {
        let port = Port::choose();
        let address = format!("127.0.0.1:{port}");
        let words = [&["--monitor", &address], own].concat();
        let mut role = site.role(name, role, &words);
        role.start();
        Self {
            role,
            port,
            http: Http::new(vec![format!("http://{address}")]),
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.http.ask(0, path, None).await.unwrap_or_default()
    }

    async fn until_ready(&self) {
        let ready = async || self.get("/ready").await.0 == 200;
        until(ready, "process that is ready").await;
    }

    async fn page(&self) -> Page {
        page(&self.http).await
    }
}

async fn page(http: &Http) -> Page {
    let page = http.send(0, "/metrics", None, None).await;
    let page = page.expect("an answer");
    assert_eq!(page.status(), 200);
    Page::new(page.text().await.expect("a page"))
}

/// Whether `/ready` says no, for this reason, while `/ok` says yes.
fn is_alive_and_not_ready(ok: &(u16, Value), ready: &(u16, Value), why: &str) -> bool {
    assert_eq!((ok.0, &ok.1["ok"]), (200, &json!(true)), "{ok:?}");
    let reasons = ready.1["why"].as_array();
    ready.0 == 503 && reasons.is_some_and(|reasons| reasons.contains(&json!(why)))
}

#[tokio::test]
async fn a_database_that_goes_and_comes_restarts_nobody() {
    const AWAY: &str = "the database is out of reach";
    let mut site = Site::start().await;
    let mut worker = Watched::start(&site, "watched", "worker", &[]);
    worker.until_ready().await;
    let gateway_is_ready = async || site.get(0, "/ready").await.0 == 200;
    until(gateway_is_ready, "gateway that is ready").await;
    let well = json!({"ok": true, "services": {"database": "ok", "nats": "ok"}});
    assert_eq!(worker.get("/ok").await, (200, well.clone()));
    assert_eq!(site.get(0, "/ok").await, (200, well));

    let thread = site.thread().await;
    let run = site.run(0, &thread, 1.0).await;
    site.says(&thread, "one").await;
    let process = worker.role.pid();
    site.postgres.stop_immediately().await;
    let noticed = async || {
        let of_worker = (worker.get("/ok").await, worker.get("/ready").await);
        let of_gateway = (site.get(0, "/ok").await, site.get(0, "/ready").await);
        [of_worker, of_gateway]
            .iter()
            .all(|(ok, ready)| is_alive_and_not_ready(ok, ready, AWAY))
    };
    until(noticed, "word of the database").await;
    for (status, ok) in [worker.get("/ok").await, site.get(0, "/ok").await] {
        assert_eq!(status, 200);
        let services = json!({"database": "unreachable", "nats": "ok"});
        assert_eq!(ok["services"], services);
    }
    let forgotten = async || {
        let page = site.http.send(0, "/metrics", None, None).await;
        let page = page.expect("an answer").text().await.expect("a page");
        let pending = [("status", "pending")];
        Page::new(page).value("runloom_runs", &pending).is_none()
    };
    until(forgotten, "page without what nobody knows").await;

    site.postgres.restart().await;
    worker.until_ready().await;
    let gateway_is_ready = async || site.get(0, "/ready").await.0 == 200;
    until(gateway_is_ready, "gateway that is ready again").await;
    site.succeeds(&run).await;
    assert_eq!(site.said(&thread).await, WHOLE, "nothing was lost");
    assert!(worker.role.is_running());
    assert_eq!(worker.role.pid(), process);
}

#[tokio::test]
async fn a_process_that_waits_for_its_database_answers_but_is_not_ready() {
    let mut site = Site::start().await;
    site.postgres.stop_immediately().await;
    for (role, own) in [("worker", &[][..]), ("gateway", &["--port", "0"])] {
        let early = Watched::start(&site, role, role, own);
        let starts = async || {
            let (ok, ready) = (early.get("/ok").await, early.get("/ready").await);
            ok.0 == 200 && is_alive_and_not_ready(&ok, &ready, "starting")
        };
        until(starts, "answer from the start").await;
        assert_eq!(early.get("/ok?check_db=1").await.0, 503);
        site.postgres.restart().await;
        early.until_ready().await;
        site.postgres.stop_immediately().await;
    }
}

/// What `runloom health` says of a process, and whether it is content.
async fn probe(watched: &Watched, own: &[&str]) -> (bool, String) {
    let address = format!("127.0.0.1:{}", watched.port);
    let output = tokio::process::Command::new(product::binary())
        .args(["health", "--monitor", &address])
        .args(own)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the binary");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said)
}

#[tokio::test]
async fn who_stops_says_so_to_the_end() {
    let site = Site::start().await;
    // Longer than a step of the run takes, so that it is still there when it was asked often enough.
    let patient = ["--drain-budget", "9"];
    let mut worker = Watched::start(&site, "watched", "worker", &patient);
    worker.until_ready().await;
    let port = Port::choose();
    let number = port.to_string();
    let own = [&patient[..], &["--port", &number]].concat();
    let mut gateway = Watched::start(&site, "c", "gateway", &own);
    gateway.until_ready().await;
    let public = Http::new(vec![format!("http://127.0.0.1:{port}")]);
    let (status, _) = public.ask(0, "/metrics", None).await.expect("an answer");
    assert_eq!(status, 404, "numbers are at the other port alone");
    let draining = gateway.page().await.value("runloom_draining", &[]);
    assert_eq!(draining, Some(0.0));
    assert!(probe(&gateway, &["--ready"]).await.0);

    let thread = site.thread().await;
    let run = site.run(0, &thread, 6.0).await;
    let stream = public.send(0, &format!("{run}/stream"), None, None).await;
    let mut frames = Frames::new(stream.expect("a stream"));
    site.says(&thread, "one").await;
    for watched in [&worker, &gateway] {
        watched.role.signal(Signal::TERM);
        let says_so = async || {
            let (ok, ready) = (watched.get("/ok").await, watched.get("/ready").await);
            is_alive_and_not_ready(&ok, &ready, "draining")
        };
        until(says_so, "word that it stops").await;
        let draining = watched.page().await.value("runloom_draining", &[]);
        assert_eq!(draining, Some(1.0));
        let (well, said) = probe(watched, &["--ready"]).await;
        assert!(!well && said.contains("draining"), "{said}");
        let (well, said) = probe(watched, &[]).await;
        assert!(well && said.contains("\"ok\":true"), "{said}");
    }
    ended(&mut worker.role).await;
    while frames.next().await.is_some() {}
    ended(&mut gateway.role).await;
    let (well, said) = probe(&worker, &[]).await;
    assert!(!well && said.is_empty(), "nobody is there: {said}");
}

/// What only graphs in Python show.
fn is_of_processes(name: &str) -> bool {
    name.starts_with("runloom_executor_")
}

#[tokio::test]
async fn processes_show_the_numbers_that_the_page_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the checkout");
    let known = documented(root);
    let site = Site::start().await;
    let worker = Watched::start(&site, "watched", "worker", &["--slots", "7"]);
    worker.until_ready().await;
    let port = Port::choose();
    let number = port.to_string();
    let gateway = Watched::start(&site, "c", "gateway", &["--port", &number]);
    gateway.until_ready().await;

    // From the start, all counters are there.
    let (at_work, at_door) = (worker.page().await, gateway.page().await);
    let mut shown = at_work.numbers();
    shown.extend(at_door.numbers());
    let counters = known.iter().filter(|(_, number)| number.kind == "counter");
    for (name, number) in counters {
        assert_eq!(
            shown.get(name),
            Some(number),
            "{name} before anything happens"
        );
    }
    let accepted = [("strategy", "interrupt"), ("verdict", "accepted")];
    let submissions = "runloom_submissions_total";
    assert_eq!(at_door.value(submissions, &accepted), Some(0.0));
    assert_eq!(at_work.value("runloom_slots", &[]), Some(7.0));

    // One run that is followed, one that stops it.
    let public = Http::new(vec![format!("http://127.0.0.1:{port}")]);
    let thread = site.thread().await;
    let path = format!("/threads/{thread}/runs");
    let stream = public
        .send(0, &format!("{path}/stream"), Some(&slow(1.0)), None)
        .await;
    let mut frames = Frames::new(stream.expect("a stream"));
    site.says(&thread, "one").await;
    let busy = async || worker.page().await.value("runloom_slots_busy", &[]) == Some(1.0);
    until(busy, "busy slot").await;
    assert_eq!(
        gateway.page().await.value("runloom_stream_clients", &[]),
        Some(1.0)
    );
    let running = async || {
        let page = gateway.page().await;
        page.value("runloom_runs", &[("status", "running")]) == Some(1.0)
            && page.value("runloom_backlog_threads", &[]) == Some(1.0)
    };
    let mut next = slow(3.0);
    next["multitask_strategy"] = json!("interrupt");
    let (status, _) = public.ask(0, &path, Some(&next)).await.expect("an answer");
    assert_eq!(status, 200);
    until(running, "running run that is counted").await;
    while frames.next().await.is_some() {}
    let idle = async || worker.page().await.value("runloom_slots_busy", &[]) == Some(0.0);
    until(idle, "idle slots").await;
    let streams = async || gateway.page().await.value("runloom_stream_clients", &[]) == Some(0.0);
    until(streams, "closed stream").await;
    public
        .ask(0, "/no/such/path", None)
        .await
        .expect("an answer");
    let sized = async || {
        let page = gateway.page().await;
        let runs = page.value("runloom_table_rows", &[("table", "runs")]);
        runs.is_some() && page.value("runloom_oldest_due_seconds", &[]).is_some()
    };
    until(sized, "size of a table").await;

    let (at_work, at_door) = (worker.page().await, gateway.page().await);
    assert_eq!(at_door.value(submissions, &accepted), Some(1.0));
    let requests = |route, status| {
        let labels = [("route", route), ("status", status)];
        at_door.value("runloom_http_requests_total", &labels)
    };
    assert_eq!(requests("/threads/{thread_id}/runs", "2xx"), Some(1.0));
    assert_eq!(
        requests("/threads/{thread_id}/runs/stream", "2xx"),
        Some(1.0)
    );
    assert_eq!(requests("other", "4xx"), Some(1.0));
    let lag = at_door.value("runloom_event_lag_seconds_sum", &[]);
    let events = at_door.value("runloom_event_lag_seconds_count", &[]);
    let lag = lag.zip(events).map(|(sum, count)| sum / count);
    assert!(lag.is_some_and(|lag| lag < 10.0), "{lag:?}");
    let executed = "runloom_attempt_seconds_count";
    let interrupted = [("outcome", "interrupted")];
    assert_eq!(at_work.value(executed, &interrupted), Some(1.0));
    for page in [&at_work, &at_door] {
        assert_eq!(page.value("runloom_nats_connected", &[]), Some(1.0));
        let most = page.value("runloom_database_connections_max", &[]);
        assert_eq!(most, Some(16.0));
    }
    let mut shown = at_work.numbers();
    shown.extend(at_door.numbers());
    for (name, number) in &shown {
        assert_eq!(known.get(name), Some(number), "{name} as the page has it");
    }
    let missing: BTreeSet<_> = known
        .keys()
        .filter(|name| !shown.contains_key(*name))
        .collect();
    let unexpected = missing.iter().filter(|name| !is_of_processes(name));
    assert_eq!(unexpected.collect::<Vec<_>>(), Vec::<&&String>::new());
}
