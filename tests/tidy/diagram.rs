//! The diagram of a run's states in the documentation is the one that the code has.

use std::fmt::Write as _;

use runloom_core::run::{RunStatus, Transition};
use strum::IntoEnumIterator as _;

use super::root;

fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> pending\n");
    for status in RunStatus::iter() {
        for transition in Transition::iter() {
            if let Ok(after) = status.after(transition) {
                writeln!(text, "    {status} --> {after}: {transition}")
                    .expect("a string takes it");
            }
        }
    }
    text
}

#[test]
fn the_documented_states_are_those_of_the_code() {
    let page = std::fs::read_to_string(root().join("docs/run.md")).expect("docs/run.md");
    let expected = format!("```mermaid\n{}```\n", diagram());
    assert!(
        page.contains(&expected),
        "docs/run.md should contain:\n\n{expected}"
    );
}
