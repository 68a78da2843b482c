use runloom_core::partial::{PartialPolicy, ToolCalls};

use super::*;

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
fn a_lease_brings_its_renewals_and_its_margin() {
    let Ok(Command::Dev(dev)) = parse(["dev", "--lease", "4"]) else {
        panic!("not dev");
    };
    let config = dev.worker.config(&dev.timing);
    assert_eq!(config.lease, Duration::from_secs(4));
    assert_eq!(config.renew(), Duration::from_secs(1));
    assert_eq!(config.margin, Duration::from_millis(400));
}
