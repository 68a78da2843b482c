use super::*;

fn round<T: Serialize + DeserializeOwned>(value: &T) -> T {
    decode(&encode(value).unwrap()).unwrap()
}

#[test]
fn values_of_users_travel_as_binary_strings() {
    let event = Event(
        "values".to_owned(),
        vec![],
        Bytes::from_static(b"{\"a\":1}"),
        None,
    );
    let bytes = encode(&vec![event.clone()]).unwrap();
    // bin 8 with its length, then the text itself
    let at = bytes.windows(2).position(|pair| pair == [0xc4, 7]).unwrap();
    assert_eq!(&bytes[at + 2..at + 9], b"{\"a\":1}");
    assert_eq!(round(&vec![event.clone()]), vec![event]);
}

#[test]
fn an_event_may_leave_out_what_was_said() {
    let event = ("updates", ["a:1"], Bytes::from_static(b"{}"));
    let event: Event = decode(&encode(&event).unwrap()).unwrap();
    assert_eq!(event.3, None);
}

#[test]
fn unknown_fields_are_ignored_and_absent_ones_are_nil() {
    let body = serde_json::json!({"outcome": "drained", "news": [1, {"a": null}]});
    let ended: RunEnded = decode(&encode(&body).unwrap()).unwrap();
    assert_eq!(ended.outcome, OutcomeKind::Drained);
    assert_eq!((ended.error, ended.leaked_threads), (None, 0));
}

#[test]
fn what_is_nil_may_also_be_said() {
    let body = serde_json::json!({"outcome": "failed", "head": null,
        "error": {"type": "KeyError", "message": "'x'", "traceback": null}});
    let ended: RunEnded = decode(&encode(&body).unwrap()).unwrap();
    assert_eq!(ended.error, Some(RemoteError::new("KeyError", "'x'")));
}

#[test]
fn operations_on_the_store_are_told_apart_by_their_names() {
    let body = serde_json::json!({"call": 3, "ops": [
        ["get", ["a"], "k"],
        ["delete", ["a", "b"], "k"],
        ["namespaces", [], ["z"], null, 10, 0],
    ]});
    let request: StoreRequest = decode(&encode(&body).unwrap()).unwrap();
    assert_eq!(request.ops.len(), 3);
    assert!(matches!(&request.ops[1], StoreOp::Delete { ns, .. } if ns.len() == 2));
    let namespaces = StoreOp::Namespaces {
        prefix: vec![],
        suffix: vec!["z".to_owned()],
        max_depth: None,
        limit: 10,
        offset: 0,
    };
    assert_eq!(request.ops[2], namespaces);
    for broken in [serde_json::json!(["get", []]), serde_json::json!(["fly"])] {
        let body = serde_json::json!({"ops": [broken]});
        assert!(decode::<StoreRequest>(&encode(&body).unwrap()).is_err());
    }
}

#[test]
fn breakpoints_are_a_star_or_a_list() {
    let all = Nodes::All("*".to_owned());
    assert_eq!(round(&all), all);
    let some = Nodes::Some(vec!["a".to_owned()]);
    assert_eq!(round(&some), some);
}

#[test]
fn whose_request_it_is_stands_among_other_fields() {
    let body = serde_json::json!({"blobs": [["a", "1", "msgpack", "x"]], "call": 7});
    let whose: OnBehalf = decode(&encode(&body).unwrap()).unwrap();
    assert_eq!(whose.call, 7);
}
