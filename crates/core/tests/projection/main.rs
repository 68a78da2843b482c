//! Values that LangGraph's own serializer stored are shown as its own executor shows them.

use runloom_core::checkpoint::Blob;
use runloom_core::message::coerce_all;
use runloom_core::projection::to_json;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Fixture {
    name: String,
    kind: String,
    hex: String,
    json: Value,
}

fn fixtures() -> Vec<Fixture> {
    serde_json::from_str(include_str!("fixtures.json")).expect("the script writes JSON")
}

impl Fixture {
    fn blob(&self) -> Blob {
        let bytes = (0..self.hex.len()).step_by(2);
        let bytes = bytes.map(|at| {
            u8::from_str_radix(&self.hex[at..at + 2], 16).expect("the script writes hex")
        });
        Blob {
            kind: self.kind.clone(),
            data: bytes.collect::<Vec<u8>>().into(),
        }
    }
}

#[test]
fn stored_values_are_shown_as_their_executor_shows_them() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 30);
    let shown = fixtures.iter().map(|fixture| to_json(&fixture.blob()));
    let wrong: Vec<_> = fixtures
        .iter()
        .zip(shown)
        .filter(|(fixture, shown)| shown.as_ref() != Ok(&fixture.json))
        .map(|(fixture, shown)| format!("{}:\n  {shown:?}\n  {}", fixture.name, fixture.json))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn stored_messages_are_messages() {
    for name in ["messages", "one_message", "removal"] {
        let fixtures = fixtures();
        let stored = fixtures.iter().find(|fixture| fixture.name == name);
        let shown = to_json(&stored.unwrap().blob()).unwrap();
        let coerced = coerce_all(&shown).unwrap();
        let ids = |messages: &[Value]| -> Vec<_> {
            let ids = messages.iter().map(|message| message["id"].clone());
            ids.collect()
        };
        let own = shown.as_array().cloned().unwrap_or(vec![shown]);
        assert_eq!(ids(&coerced), ids(&own), "{name}");
    }
}
