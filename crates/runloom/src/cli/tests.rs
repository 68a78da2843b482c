use std::num::NonZeroU32;

use runloom_core::partial::{Partial, PartialOverride, PartialPolicy, ToolCalls};
use runloom_core::thread::{Ttl, TtlStrategy};
use runloom_remote::project::ThreadAge;

use super::*;

const SERVERS: [&str; 4] = [
    "--database-url",
    "postgres://runloom:hidden-word@db/runloom",
    "--nats-url",
    "nats://a:4222,nats://b:4222",
];

fn parse(args: impl IntoIterator<Item = &'static str>) -> Result<Command, clap::Error> {
    let args = ["runloom"].into_iter().chain(args);
    Cli::try_parse_from(args).map(|cli| cli.command)
}

#[test]
fn the_command_line_is_consistent() {
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn a_profile_can_be_softened_by_single_choices() {
    let args = ["dev", "--profile", "strict", "--tool-calls", "repair"];
    let Ok(Command::Dev(dev)) = parse(args) else {
        panic!("not dev");
    };
    let expected = PartialPolicy {
        tool_calls: ToolCalls::Repair,
        ..PartialPolicy::STRICT
    };
    assert_eq!(dev.gateway.partial.policy(), expected);
}

#[test]
fn what_a_project_says_of_stopped_runs_yields_to_flags() {
    let Ok(Command::Dev(dev)) = parse(["dev", "--tool-calls", "repair"]) else {
        panic!("not dev");
    };
    let project = PartialOverride {
        partial: Some(Partial::Off),
        tool_calls: Some(ToolCalls::Keep),
        ..PartialOverride::default()
    };
    let expected = PartialPolicy {
        partial: Partial::Off,
        ..PartialPolicy::default()
    };
    assert_eq!(dev.gateway.partial.policy_over(project), expected);
}

#[test]
fn every_role_that_serves_takes_a_project() {
    let flags = [
        "--config",
        "langgraph.json",
        "--python",
        ".venv",
        "--allow-unsupported",
        "--executor-processes",
        "2",
        "--executor-memory-limit",
        "512",
    ];
    let graphs = |command| match command {
        Command::Dev(role) => role.graphs,
        Command::Gateway(role) => role.graphs,
        Command::Worker(role) => role.graphs,
        Command::All(role) => role.graphs,
        other => panic!("{other:?} serves nothing"),
    };
    for role in ["dev", "gateway", "worker", "all"] {
        let servers = SERVERS.into_iter().filter(|_| role != "dev");
        let args = [role].into_iter().chain(servers).chain(flags);
        let overrides = graphs(parse(args).expect(role)).project.overrides();
        assert!(overrides.allow_unsupported);
        assert_eq!(overrides.python, Some(".venv".into()));
        assert_eq!(overrides.settings.processes, Some(2));
        assert_eq!(overrides.settings.max_runs, None);
        assert_eq!(overrides.settings.memory_limit_mb, Some(512));
    }
    assert!(parse(["dev", "--executor-processes", "0"]).is_err());
}

#[test]
fn nonsense_is_refused() {
    for args in [
        ["--partial", "maybe"],
        ["--run-timeout", "-1"],
        ["--slots", "0"],
        ["--lease", "0.5"],
    ] {
        assert!(parse(["dev"].into_iter().chain(args)).is_err(), "{args:?}");
    }
}

#[test]
fn roles_for_many_machines_need_both_servers() {
    for role in ["gateway", "worker", "all", "doctor"] {
        assert!(parse([role].into_iter().chain(SERVERS)).is_ok(), "{role}");
        for given in [&SERVERS[..2], &SERVERS[2..], &[]] {
            let args = [role].into_iter().chain(given.iter().copied());
            assert!(parse(args).is_err(), "{role} {given:?}");
        }
    }
    assert!(parse(["migrate", SERVERS[0], SERVERS[1]]).is_ok());
}

#[test]
fn every_role_that_serves_can_be_looked_at_apart_from_its_clients() {
    let monitor = |command| match command {
        Command::Dev(role) => role.monitor,
        Command::Gateway(role) => role.monitor,
        Command::Worker(role) => role.monitor,
        Command::All(role) => role.monitor,
        other => panic!("{other:?} serves nothing"),
    };
    for role in ["dev", "gateway", "worker", "all"] {
        let servers = SERVERS.into_iter().filter(|_| role != "dev");
        let args: Vec<_> = [role].into_iter().chain(servers).collect();
        let at = |place| args.iter().copied().chain(["--monitor", place]);
        let address = |place| monitor(parse(at(place)).expect(role)).monitor;
        assert_eq!(
            address("127.0.0.1:9100"),
            Some(([127, 0, 0, 1], 9100).into())
        );
        let named = address("localhost:9100").expect("an address");
        assert!(named.ip().is_loopback() && named.port() == 9100);
        assert!(parse(at("127.0.0.1")).is_err());
    }
}

#[test]
fn half_an_identity_is_refused() {
    for half in [
        ["--nats-user", "u"],
        ["--nats-password", "p"],
        ["--nats-tls-cert", "c"],
        ["--nats-tls-key", "k"],
    ] {
        let args = ["worker"].into_iter().chain(SERVERS).chain(half);
        assert!(parse(args).is_err(), "{half:?}");
    }
}

#[test]
fn several_nats_servers_are_named_in_one_flag() {
    let args = ["worker"].into_iter().chain(SERVERS);
    let args = args.chain(["--nats-manage-streams", "false"]);
    let Ok(Command::Worker(worker)) = parse(args) else {
        panic!("not worker");
    };
    let nats = worker.servers.nats;
    let urls: Vec<_> = nats.nats_url.iter().map(Secret::reveal).collect();
    assert_eq!(urls, ["nats://a:4222", "nats://b:4222"]);
    assert!(!nats.nats_manage_streams);
}

#[test]
fn a_lease_brings_its_renewals_and_its_margin() {
    let args = ["worker", "--lease", "4"].into_iter().chain(SERVERS);
    let Ok(Command::Worker(worker)) = parse(args) else {
        panic!("not worker");
    };
    let config = worker.worker.config(&worker.timing, ThreadAge::default());
    assert_eq!(config.lease, Duration::from_secs(4));
    assert_eq!(config.renew(), Duration::from_secs(1));
    assert_eq!(config.margin, Duration::from_millis(400));
}

#[test]
fn what_a_project_says_of_the_age_of_threads_yields_to_flags() {
    let project = ThreadAge {
        strategy: Some(TtlStrategy::KeepLatest),
        default_ttl: Some(60.0),
        sweep_interval_minutes: Some(5.0),
        sweep_limit: NonZeroU32::new(7),
    };
    let dev = |flags: &[&'static str]| match parse(["dev"].into_iter().chain(flags.iter().copied()))
    {
        Ok(Command::Dev(dev)) => dev,
        other => panic!("{other:?}"),
    };
    let (plain, flags) = (
        dev(&[]),
        dev(&[
            "--thread-ttl=0.5",
            "--thread-ttl-strategy=delete",
            "--retention-interval=2",
            "--run-age=30",
        ]),
    );
    let ttl = |args: &Dev, project| args.gateway.threads.ttl(project);
    assert_eq!(ttl(&plain, ThreadAge::default()), None);
    assert_eq!(
        ttl(&plain, project),
        Ttl::new(60.0, TtlStrategy::KeepLatest)
    );
    assert_eq!(ttl(&flags, project), Ttl::new(0.5, TtlStrategy::Delete));

    let config = |args: &Dev, project| args.worker.config(&args.timing, project);
    let usual = config(&plain, ThreadAge::default());
    assert_eq!(
        (usual.expire, usual.run_age),
        (Duration::from_mins(1), None)
    );
    let of_project = config(&plain, project);
    assert_eq!(of_project.expire, Duration::from_mins(5));
    assert_eq!(of_project.expire_limit, 7);
    let of_flags = config(&flags, project);
    assert_eq!(of_flags.expire, Duration::from_secs(2));
    assert_eq!(of_flags.run_age, Some(Duration::from_hours(24 * 30)));
}

#[test]
fn ages_that_make_no_sense_are_refused() {
    for wrong in [
        "--thread-ttl=0",
        "--thread-ttl=-1",
        "--thread-ttl=long",
        "--thread-ttl-strategy=burn",
        "--run-age=0.0001",
        "--run-age=-3",
        "--retention-interval=0",
    ] {
        parse(["dev", wrong]).expect_err(wrong);
    }
}

#[test]
fn passwords_are_never_printed() {
    let secrets = ["--nats-user", "u", "--nats-password", "hidden-word"];
    let args = ["all"].into_iter().chain(SERVERS).chain(secrets);
    let all = parse(args).expect("a valid command line");
    assert!(!format!("{all:?}").contains("hidden-word"));
}
