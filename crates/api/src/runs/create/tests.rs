use runloom_core::partial::Partial;
use serde_json::json;

use super::*;

fn read(body: &str) -> Result<RunCreate, String> {
    serde_json::from_str(body).map_err(|error| error.to_string())
}

fn alone(fields: Value) -> Result<RunRequest, RunRefusal> {
    let mut body = json!({"assistant_id": "agent"});
    let map = body.as_object_mut().unwrap();
    map.extend(serde_json::from_value::<JsonMap>(fields).unwrap());
    read(&body.to_string()).expect("the types fit").alone()
}

fn on_thread(fields: Value) -> Result<RunRequest, RunRefusal> {
    let mut body = json!({"assistant_id": "agent"});
    let map = body.as_object_mut().unwrap();
    map.extend(serde_json::from_value::<JsonMap>(fields).unwrap());
    let create = read(&body.to_string()).expect("the types fit");
    create.on_thread(ThreadId::new())
}

#[test]
fn a_bare_request_has_the_defaults_of_the_published_server() {
    let request = on_thread(json!({})).unwrap();
    assert_eq!(request.multitask_strategy, MultitaskStrategy::Enqueue);
    assert_eq!(request.kwargs.stream_mode, [StreamMode::Values]);
    assert_eq!(request.kwargs.durability, Durability::Async);
    assert_eq!(request.if_thread_missing, IfThreadMissing::Reject);
    assert_eq!(request.on_disconnect, OnDisconnect::Continue);
    assert_eq!(request.delay, TimeDelta::zero());
    assert!(!request.kwargs.temporary && !request.kwargs.resumable);
    let request = alone(json!({})).unwrap();
    assert!(request.kwargs.temporary);
    assert_eq!(request.if_thread_missing, IfThreadMissing::Create);
    let kept = alone(json!({"on_completion": "keep"})).unwrap();
    assert!(!kept.kwargs.temporary);
}

#[test]
fn nulls_and_unknown_fields_are_harmless() {
    let nulls = json!({"input": null, "command": null, "webhook": null, "metadata": null,
        "config": null, "context": null, "stream_mode": null, "multitask_strategy": null,
        "after_seconds": null, "checkpoint_id": null, "on_disconnect": null,
        "strict_resume": true, "colour": {"a": []}});
    let request = on_thread(nulls).unwrap();
    assert!(!request.kwargs.has_input());
    assert_eq!(request.kwargs.stream_mode, [StreamMode::Values]);
}

#[test]
fn one_stream_mode_is_a_list_of_one() {
    let one = on_thread(json!({"stream_mode": "messages-tuple"})).unwrap();
    assert_eq!(one.kwargs.stream_mode, [StreamMode::MessagesTuple]);
    let two = on_thread(json!({"stream_mode": ["values", "debug"]})).unwrap();
    let both = [StreamMode::Values, StreamMode::Debug];
    assert_eq!(two.kwargs.stream_mode, both);
}

#[test]
fn what_has_the_wrong_type_does_not_parse() {
    for wrong in [
        r#"{"input": 1}"#,
        r#"{"assistant_id": null}"#,
        r#"{"assistant_id": "a", "stream_mode": "valeus"}"#,
        r#"{"assistant_id": "a", "stream_mode": 1}"#,
        r#"{"assistant_id": "a", "multitask_strategy": "wait"}"#,
        r#"{"assistant_id": "a", "interrupt_before": "tools"}"#,
        r#"{"assistant_id": "a", "durability": "maybe"}"#,
        r#"{"assistant_id": "a", "after_seconds": "1"}"#,
        r#"{"assistant_id": "a", "metadata": []}"#,
        r#"{"assistant_id": "a", "stream_resumable": "yes"}"#,
        r#"{"assistant_id": "a", "if_not_exists": "ask"}"#,
        r#"{"assistant_id": "a", "config": {"tags": "b"}}"#,
        r#"{"assistant_id": "a", "context": {"a\u0000": 1}}"#,
        r"[]",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_command_wins_over_an_input_and_must_have_its_form() {
    let both = on_thread(json!({"input": {"a": 1}, "command": {"resume": 1}})).unwrap();
    assert_eq!(
        (both.kwargs.input, both.kwargs.command.is_some()),
        (None, true)
    );
    let neither = on_thread(json!({"input": {"a": 1}, "command": {}})).unwrap();
    assert!(neither.kwargs.input.is_some() && neither.kwargs.command.is_none());
    for fits in [
        json!({"goto": "a"}),
        json!({"goto": ["a", {"node": "b", "input": 1}], "update": [["k", 1]]}),
        json!({"update": {"a": 1}, "resume": null}),
    ] {
        assert!(on_thread(json!({"command": fits})).is_ok());
    }
    for wrong in [
        json!("resume"),
        json!({"goto": 1}),
        json!({"goto": [["a"]]}),
        json!({"goto": {"input": 1}}),
        json!({"update": "a"}),
        json!({"update": [["k"]]}),
    ] {
        let refusal = on_thread(json!({"command": wrong.clone()})).unwrap_err();
        assert!(matches!(refusal, RunRefusal::Invalid(_)), "{wrong}");
    }
}

#[test]
fn nothing_can_be_resumed_without_a_thread() {
    let refusal = alone(json!({"command": {"resume": false}})).unwrap_err();
    assert_eq!(refusal, RunRefusal::ResumeWithoutThread);
    assert!(alone(json!({"command": {"goto": "a"}})).is_ok());
}

#[test]
fn documents_that_nobody_could_read_are_refused() {
    let deep = "[".repeat(500) + &"]".repeat(500);
    for unreadable in [r#""\ud800""#, "1e999", deep.as_str()] {
        for field in ["input", "command"] {
            let body = format!(r#"{{"assistant_id": "a", "{field}": {unreadable}}}"#);
            let create = read(&body).expect("it is JSON");
            assert!(create.alone().is_err(), "{field}: {unreadable}");
        }
    }
}

#[test]
fn an_input_goes_through_as_it_was_written() {
    let body = r#"{"assistant_id": "a", "input": {"z": 1.0, "a": 12345678901234567890123}}"#;
    let input = read(body).unwrap().alone().unwrap().kwargs.input.unwrap();
    assert_eq!(
        input.as_str(),
        r#"{"z": 1.0, "a": 12345678901234567890123}"#
    );
}

#[test]
fn delays_are_bounded_and_may_be_negative() {
    let delay = |seconds: f64| on_thread(json!({"after_seconds": seconds})).map(|run| run.delay);
    assert_eq!(delay(1.5), Ok(TimeDelta::milliseconds(1_500)));
    assert_eq!(delay(-2.0), Ok(TimeDelta::seconds(-2)));
    assert!(delay(1e300).is_err() && delay(-1e10).is_err());
}

#[test]
fn checkpoint_during_is_the_old_form_of_durability() {
    let durability = |fields| on_thread(fields).unwrap().kwargs.durability;
    let old = json!({"checkpoint_during": false});
    assert_eq!(durability(old), Durability::Exit);
    let both = json!({"checkpoint_during": false, "durability": "sync"});
    assert_eq!(durability(both), Durability::Sync);
}

#[test]
fn a_run_may_say_what_is_kept_of_it_but_no_nonsense() {
    let asking = |runloom| on_thread(json!({"config": {"configurable": {"runloom": runloom}}}));
    let request = asking(json!({"partial": "off"})).unwrap();
    assert_eq!(request.policy.partial, Some(Partial::Off));
    assert!(request.own_configurable.contains_key("runloom"));
    for nonsense in [
        json!({"partial": "maybe"}),
        json!({"partail": "off"}),
        json!(1),
    ] {
        assert!(asking(nonsense.clone()).is_err(), "{nonsense}");
    }
}

#[test]
fn webhooks_must_look_like_urls() {
    assert!(on_thread(json!({"webhook": "https://a.example/b"})).is_ok());
    assert!(on_thread(json!({"webhook": ""})).is_err());
    assert!(on_thread(json!({"webhook": "https://a b"})).is_err());
}

#[test]
fn what_belongs_to_the_server_is_left_out() {
    let request = on_thread(json!({
        "metadata": {"run_id": "x", "m": 1},
        "config": {"configurable": {"langgraph_auth_user": "x", "c": 1}},
    }));
    let request = request.unwrap();
    assert_eq!(Value::Object(request.metadata), json!({"m": 1}));
    let configurable = request.kwargs.configurable().cloned().unwrap();
    assert_eq!(Value::Object(configurable), json!({"c": 1}));
}
