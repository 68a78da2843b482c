//! How to be let in, and what the bus says about servers that cannot be used.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use runloom_bus::nats::{Auth, ConnectError, Finding, Level, Nats, Options, State, Tls};
use runloom_core::ids::ThreadId;
use runloom_testkit::services::nats::{Server, Version};
use support::{PATIENCE, connect, connected, options};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// A pair of keys that NATS' own documentation shows.
const PUBLIC_KEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

/// Expects that these options are let in, and others of the same server are not.
async fn expect_let_in(url: &str, auth: Auth) {
    let with = |auth| Options {
        auth,
        connect_wait: Duration::from_millis(300),
        ..options(url)
    };
    let nats = connect(with(auth)).await;
    nats.notifier()
        .wake(ThreadId::new())
        .await
        .expect("it is taken");
    let stranger = Nats::connect(with(Auth::default()))
        .await
        .expect("usable options");
    assert!(matches!(*stranger.state().borrow(), State::Down(_)));
}

#[tokio::test]
async fn a_user_is_let_in_with_the_password_the_token_or_the_key() {
    let users = "authorization { users: [{user: me, password: secret}] }";
    let server = Server::start_with(Version::Newest, users).await;
    let auth = Auth {
        user: Some("me".to_owned()),
        password: Some("secret".to_owned()),
        ..Auth::default()
    };
    expect_let_in(&server.url(), auth).await;

    let server = Server::start_with(Version::Newest, "authorization { token: secret }").await;
    let auth = Auth {
        token: Some("secret".to_owned()),
        ..Auth::default()
    };
    expect_let_in(&server.url(), auth).await;

    let keys = format!("authorization {{ users: [{{nkey: {PUBLIC_KEY}}}] }}");
    let server = Server::start_with(Version::Newest, &keys).await;
    let seed = server.folder().join("seed");
    std::fs::write(&seed, format!("{SEED}\n")).expect("a file");
    let auth = Auth {
        nkey: Some(seed),
        ..Auth::default()
    };
    expect_let_in(&server.url(), auth).await;
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

/// Makes `ca.pem`, and `<name>.pem` and `<name>.key` signed by it for both sides.
fn certificates(folder: &Path) {
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1";
    let ca = format!("{new} -keyout ca.key -out ca.pem -subj /CN=ca");
    openssl(folder, &ca);
    for name in ["server", "client"] {
        let signed = format!(
            "{new} -CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem -subj /CN={name} \
            -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        );
        openssl(folder, &signed);
    }
}

#[tokio::test]
async fn tls_works_with_our_authority_and_our_certificate() {
    let folder = std::env::temp_dir().join(format!("runloom-tls-{}", ThreadId::new()));
    std::fs::create_dir_all(&folder).expect("a folder");
    certificates(&folder);
    let file = |name: &str| folder.join(name);
    let config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("server.pem"),
        file("server.key"),
        file("ca.pem")
    );
    let server = Server::start_with(Version::Newest, &config).await;
    let tls = Tls {
        ca: Some(file("ca.pem")),
        cert: Some(file("client.pem")),
        key: Some(file("client.key")),
        require: true,
    };
    let with = |tls| Options {
        tls,
        connect_wait: Duration::from_millis(500),
        ..options(&server.url())
    };
    let nats = connect(with(tls.clone())).await;
    nats.notifier()
        .wake(ThreadId::new())
        .await
        .expect("it is taken");
    let stranger = Tls { ca: None, ..tls };
    let stranger = Nats::connect(with(stranger)).await.expect("usable options");
    assert!(matches!(*stranger.state().borrow(), State::Down(_)));
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    let old = async move {
        let mut clients = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let info = "INFO {\"server_id\":\"x\",\"version\":\"2.10.25\",\"max_payload\":1048576}\r\n\
                PONG\r\n";
            client.write_all(info.as_bytes()).await.expect("written");
            clients.push(client);
        }
    };
    tokio::select! {
        () = old => panic!("the old server ended"),
        connected = timeout(PATIENCE, Nats::connect(options(&url))) => {
            let Ok(Err(ConnectError::Refused(why))) = connected else {
                panic!("it was not refused");
            };
            assert!(why.contains("2.10.25") && why.contains("2.11"), "{why}");
        }
    }
}

/// Waits until the bus says what it lacks.
async fn degraded(nats: &Nats) -> String {
    let mut state = nats.state();
    let lacking = state.wait_for(|state| matches!(state, State::Degraded(_)));
    let lacking = timeout(PATIENCE, lacking).await;
    match &*lacking.expect("it says so").expect("it is there") {
        State::Degraded(why) => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn streams_that_we_may_not_manage_are_looked_at_and_named() {
    let server = Server::start(Version::Newest).await;
    let managing = options(&server.url());
    let looking = Options {
        manage_streams: false,
        connect_wait: Duration::from_millis(200),
        ..managing.clone()
    };
    let nats = Nats::connect(looking).await.expect("usable options");
    let dispatch = format!("{}_DISP_c0", managing.prefix.to_uppercase());
    let why = degraded(&nats).await;
    assert!(
        why.contains(&dispatch) && why.contains("does not exist"),
        "{why}"
    );
    let problems = problems(nats.doctor().await);
    assert!(
        problems.iter().any(|what| what.contains(&dispatch)),
        "{problems:?}"
    );

    // An administrator makes them; nobody restarts anything.
    let administrator = connect(managing.clone()).await;
    connected(&nats).await;
    nats.notifier()
        .wake(ThreadId::new())
        .await
        .expect("it is taken");
    assert_eq!(self::problems(nats.doctor().await), Vec::<String>::new());
    drop(administrator);

    let other = Options {
        event_shards: 3,
        ..managing
    };
    let other = Options {
        manage_streams: false,
        connect_wait: Duration::from_millis(200),
        ..other
    };
    let nats = Nats::connect(other).await.expect("usable options");
    let why = degraded(&nats).await;
    assert!(why.contains("2 event shards, not 3"), "{why}");
}

fn problems(findings: Vec<Finding>) -> Vec<String> {
    let bad = |finding: Finding| (finding.level == Level::Problem).then_some(finding.what);
    findings.into_iter().filter_map(bad).collect()
}

#[tokio::test]
async fn missing_permissions_are_named() {
    let managing = options("nats://unused");
    let root = format!("{}.c0", managing.prefix);
    let config = format!(
        "authorization {{ users: [\
            {{user: all, password: x}}, \
            {{user: few, password: x, permissions: {{publish: {{deny: \"{root}.disp.>\"}}, \
                subscribe: {{deny: \"{root}.ctl.>\"}}}}}}] }}"
    );
    let server = Server::start_with(Version::Newest, &config).await;
    let of = |user: &str| Options {
        urls: vec![server.url()],
        auth: Auth {
            user: Some(user.to_owned()),
            password: Some("x".to_owned()),
            ..Auth::default()
        },
        ..managing.clone()
    };
    let all = connect(of("all")).await;
    assert_eq!(problems(all.doctor().await), Vec::<String>::new());
    let few = connect(of("few")).await;
    let problems = problems(few.doctor().await);
    let named = |what: &str| problems.iter().any(|problem| problem.contains(what));
    assert!(
        named(&format!("{root}.disp.")) && named(&format!("{root}.ctl.")),
        "{problems:?}"
    );
}
