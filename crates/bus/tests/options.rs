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

/// A second pair of keys.
const OTHER_PUBLIC_KEY: &str = "UAANAWQ5D2RFCOLNKV5PXVCYRM6G3GO35OLS73IQUMSWF2RG3TOPUNZ4";
const OTHER_SEED: &str = "SUAAOCAJBIFQYDIOB4IBCEQTCQKRMFYYDENBWHA5DYPSAIJCEMSCKJR2OM";

#[tokio::test]
async fn new_credentials_are_read_when_the_connection_is_made_anew() {
    let only = |key| format!("authorization {{ users: [{{nkey: {key}}}] }}");
    let mut server = Server::start_with(Version::Newest, &only(PUBLIC_KEY)).await;
    let seed = server.folder().join("seed");
    std::fs::write(&seed, SEED).expect("a file");
    let nats = connect(Options {
        auth: Auth {
            nkey: Some(seed.clone()),
            ..Auth::default()
        },
        ..options(&server.url())
    })
    .await;

    server.kill();
    let config = server.folder().join("config");
    std::fs::write(config, only(OTHER_PUBLIC_KEY)).expect("a file");
    server.restart().await;
    // For a while the old key is all there is; nobody gives up over that.
    let mut state = nats.state();
    let down = state.wait_for(|state| matches!(state, State::Down(_)));
    let _ = timeout(PATIENCE, down).await.expect("in time");
    std::fs::write(&seed, OTHER_SEED).expect("a file");
    let back = state.wait_for(|state| *state == State::Connected);
    timeout(PATIENCE, back)
        .await
        .expect("in time")
        .expect("it lives");
    nats.notifier()
        .wake(ThreadId::new())
        .await
        .expect("it is taken");
}

#[tokio::test]
async fn the_api_of_jetstream_may_have_another_name() {
    let server = Server::start_with(Version::Newest, "jetstream { domain: hub }").await;
    let with = |api_prefix: &str| Options {
        api_prefix: Some(api_prefix.to_owned()),
        connect_wait: Duration::from_millis(500),
        ..options(&server.url())
    };
    let nats = connect(with("$JS.hub.API")).await;
    nats.notifier()
        .wake(ThreadId::new())
        .await
        .expect("it is taken");
    let wrong = Nats::connect(with("nobody.here")).await.expect("usable");
    assert_ne!(*wrong.state().borrow(), State::Connected);
}

#[tokio::test]
async fn connections_have_the_name_that_people_gave_them() {
    let server = Server::start(Version::Newest).await;
    let options = Options {
        name: "gateway-7".to_owned(),
        ..options(&server.url())
    };
    let _nats = connect(options).await;
    let connections = server.shown("/connz").await;
    let names = connections["connections"].as_array().expect("a list");
    let mut names: Vec<_> = names.iter().map(|found| found["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, [Some("gateway-7 control"), Some("gateway-7 events")]);
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
        first: false,
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
    let stranger = Tls {
        ca: None,
        ..tls.clone()
    };
    let stranger = Nats::connect(with(stranger)).await.expect("usable options");
    assert!(matches!(*stranger.state().borrow(), State::Down(_)));

    // A server that says nothing before TLS needs a client that begins with it.
    let config = config.replace("verify: true", "verify: true, handshake_first: true");
    let server = Server::start_with(Version::Newest, &config).await;
    for first in [true, false] {
        let tls = Tls {
            first,
            ..tls.clone()
        };
        let options = Options {
            urls: vec![server.url()],
            ..with(tls)
        };
        let nats = Nats::connect(options).await.expect("usable options");
        assert_eq!(*nats.state().borrow() == State::Connected, first);
    }
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
