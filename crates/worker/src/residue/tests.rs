use std::collections::BTreeMap;

use chrono::DateTime;
use runloom_core::checkpoint::Checkpoint;
use runloom_core::executor::Said;
use runloom_core::ids::{AssistantId, CheckpointId, RunId, ThreadId};
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{MultitaskStrategy, RunKwargs, RunStatus};
use serde_json::json;

use super::*;
use crate::said::Observed;

fn run(policy: PartialPolicy) -> Run {
    Run {
        id: RunId::new(),
        thread_id: ThreadId::new(),
        assistant_id: AssistantId::of_graph(&"agent".into()),
        graph_id: "agent".into(),
        seq: 1,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        status: RunStatus::Running,
        metadata: JsonMap::new(),
        kwargs: RunKwargs::default(),
        multitask_strategy: MultitaskStrategy::Enqueue,
        policy,
        attempt: 1,
        cancel: None,
        cancel_reason: None,
        superseded_by: None,
        worker_id: None,
        error: None,
        output: None,
        interrupted_output: None,
    }
}

/// A stopped run: what its head holds, what its finished tasks wrote, what the others said.
struct Case {
    run: Run,
    reason: Reason,
    messages: Value,
    next: Vec<&'static str>,
    stored: Option<CheckpointTuple>,
    observed: Observed,
    exact: bool,
}

impl Case {
    fn new(messages: Value) -> Self {
        let run = run(PartialPolicy::default());
        let checkpoint = Checkpoint {
            thread_id: run.thread_id,
            ns: String::new(),
            id: CheckpointId("c1".to_owned()),
            parent: None,
            run_id: Some(run.id),
            metadata: JsonMap::new(),
            head: Blob::json(&json!(null)).unwrap(),
            versions: BTreeMap::new(),
            created_at: DateTime::UNIX_EPOCH,
        };
        Self {
            run,
            reason: Reason::Superseded,
            messages,
            next: vec!["model", "tools"],
            stored: Some(CheckpointTuple {
                checkpoint,
                channels: BTreeMap::new(),
                writes: Vec::new(),
            }),
            observed: Observed::default(),
            exact: true,
        }
    }

    fn policy(mut self, partial: Partial, tool_calls: ToolCalls) -> Self {
        self.run.policy.partial = partial;
        self.run.policy.tool_calls = tool_calls;
        self
    }

    fn wrote(mut self, task: &str, kind: &str, update: &Value) -> Self {
        let stored = self.stored.as_mut().expect("a stored head");
        stored.writes.push(PendingWrite {
            task_id: task.to_owned(),
            task_path: "1".to_owned(),
            index: 0,
            channel: "messages".to_owned(),
            blob: Blob {
                kind: kind.to_owned(),
                ..Blob::json(update).unwrap()
            },
        });
        self
    }

    fn said(self, node: &str, message_id: &str, text: &str) -> Self {
        self.observed.said(&Said {
            task_id: format!("{node}-task"),
            node: node.to_owned(),
            message_id: message_id.to_owned(),
            text: text.to_owned(),
        });
        self
    }

    fn residue(&self) -> Residue {
        let messages = add_messages(&[], &self.messages).unwrap();
        let values = json!({"messages": messages, "other": 1});
        self.residue_of(Json::from_value(&values))
    }

    fn residue_of(&self, values: Json) -> Residue {
        of(Stopped {
            run: &self.run,
            reason: self.reason,
            channel: Some("messages"),
            spoken: &self.observed.spoken(),
            head: Head {
                checkpoint_id: Some(CheckpointId("c1".to_owned())),
                values,
                next: self.next.iter().map(|node| (*node).to_owned()).collect(),
                interrupts: JsonMap::new(),
            },
            stored: self.stored.as_ref(),
            exact: self.exact,
        })
    }
}

/// What was written beside the head.
fn written(residue: &Residue) -> Vec<Value> {
    let Some(writes) = &residue.writes else {
        return Vec::new();
    };
    let [write] = writes.writes.as_slice() else {
        panic!("one write, not {writes:?}");
    };
    assert!(is_residue(write));
    serde_json::from_slice(&write.blob.data).unwrap()
}

fn ids(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["id"].as_str().unwrap())
        .collect()
}

/// Who says what, short.
fn lines(messages: &[Value]) -> Vec<String> {
    let line = |message: &Value| {
        let call = message["tool_call_id"].as_str().unwrap_or_default();
        let status = message["status"].as_str().unwrap_or_default();
        let kind = message["type"].as_str().unwrap();
        format!("{kind} {call}{status}").trim().to_owned()
    };
    messages.iter().map(line).collect()
}

fn call(id: &str) -> Value {
    json!({"name": "search", "args": {"query": "x"}, "id": id})
}

/// A question, and an answer that calls three tools.
fn three_calls() -> Value {
    json!([
        {"role": "user", "content": "q", "id": "h"},
        {"role": "ai", "content": "", "id": "a", "tool_calls": [call("1"), call("2"), call("3")]},
    ])
}

fn result(id: &str) -> Value {
    json!([{"role": "tool", "content": "sunny", "tool_call_id": id}])
}

#[test]
fn results_of_finished_tasks_come_first_then_answers_to_open_calls_then_text() {
    let case = Case::new(three_calls())
        .wrote("t3", "json", &result("3"))
        .wrote("t1", "json", &result("1"))
        .said("model", "m", "It is sun \n");
    let residue = case.residue();
    let kept = written(&residue);
    assert_eq!(
        lines(&kept),
        ["tool 3success", "tool 1success", "tool 2error", "ai"]
    );
    assert_eq!(kept[3]["id"], "m");
    assert_eq!(kept[3]["content"], "It is sun");
    assert_eq!(
        kept[3]["response_metadata"],
        json!({"finish_reason": "interrupted"})
    );
    let mark = json!({"reason": "superseded", "node": "model", "run_id": case.run.id.to_string()});
    assert_eq!(kept[3]["additional_kwargs"], json!({"interrupted": mark}));
    assert_eq!(residue.said.unwrap().to_value(), json!([kept[3]]));

    let values = residue.head.values.to_value();
    assert_eq!(values["other"], 1);
    let all = values["messages"].as_array().unwrap();
    assert_eq!(ids(&all[..2]), ["h", "a"]);
    assert_eq!(all[2..], kept, "what readers see is what is stored");
}

#[test]
fn the_write_stands_beside_the_head_as_part_of_the_state() {
    let residue = Case::new(three_calls()).residue();
    let writes = residue.writes.unwrap();
    assert_eq!(
        (writes.ns.as_str(), writes.checkpoint_id.0.as_str()),
        ("", "c1")
    );
    let write = &writes.writes[0];
    assert_eq!(write.task_id, NULL_TASK);
    assert_eq!(write.task_path, RESIDUE_PATH);
    assert_eq!(write.index, RESIDUE_INDEX);
    assert_eq!(
        (write.channel.as_str(), write.blob.kind.as_str()),
        ("messages", "json")
    );
}

#[test]
fn an_answer_to_an_open_call_tells_the_true_reason_and_claims_nothing() {
    for (reason, words) in [
        (Reason::Superseded, "a newer message took the place"),
        (Reason::Cancelled, "cancelled on request"),
        (Reason::Timeout, "took longer than it may"),
        (Reason::Stopped, "the run was stopped"),
    ] {
        let mut case = Case::new(three_calls());
        case.reason = reason;
        let kept = written(&case.residue());
        assert_eq!(lines(&kept), ["tool 1error", "tool 2error", "tool 3error"]);
        let text = kept[0]["content"].as_str().unwrap();
        assert!(text.contains(words) && text.contains("unknown"), "{text}");
        assert_eq!(kept[0]["name"], "search");
    }
}

#[test]
fn what_is_kept_is_the_same_each_time_it_is_decided() {
    let case = Case::new(three_calls()).wrote("t1", "json", &result("1"));
    assert_eq!(case.residue(), case.residue());
}

#[test]
fn a_head_that_is_left_twice_keeps_both() {
    let mut case = Case::new(three_calls());
    let first = case.residue();
    let after = first.head.values.to_value()["messages"].clone();
    let stored = case.stored.as_mut().unwrap();
    stored.writes.extend(first.writes.unwrap().writes);
    case.messages = after;
    let case = case.said("model", "m", "again");
    let second = case.residue();
    assert_eq!(
        ids(&written(&second)),
        ["m"],
        "calls have their answers already"
    );
    assert_eq!(second.writes.unwrap().writes[0].index, RESIDUE_INDEX + 1);
}

#[test]
fn blank_text_and_text_of_known_messages_is_not_kept() {
    let case = Case::new(json!([{"role": "ai", "content": "whole", "id": "a"}]))
        .said("model", "a", "who")
        .said("model", "m", " \n ");
    let residue = case.residue();
    assert_eq!(residue.writes, None);
    assert_eq!(residue.said, None);
}

#[test]
fn a_whole_message_of_a_finished_task_replaces_its_text() {
    let whole = json!([{"role": "ai", "content": "whole", "id": "m"}]);
    let case = Case::new(json!([]))
        .wrote("t1", "json", &whole)
        .said("model", "m", "who");
    let kept = written(&case.residue());
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["content"], "whole");
}

#[test]
fn text_of_nodes_that_are_done_is_for_the_record_only() {
    let mut case = Case::new(json!([]))
        .said("summary", "s", "in short")
        .said("model", "m", "so");
    let residue = case.residue();
    assert_eq!(ids(&written(&residue)), ["m"]);
    let said = residue.said.unwrap().to_value();
    assert_eq!(ids(said.as_array().unwrap()), ["s", "m"]);
    // A head that the executor did not vouch for may lie behind what was executed.
    case.exact = false;
    assert_eq!(ids(&written(&case.residue())), ["s", "m"]);
}

#[test]
fn switches_decide_about_the_thread_but_never_about_the_record() {
    let case = |partial, tool_calls| {
        let case = Case::new(three_calls()).policy(partial, tool_calls);
        let case = case
            .wrote("t1", "json", &result("1"))
            .said("model", "m", "so");
        let residue = case.residue();
        assert!(residue.said.is_some());
        lines(&written(&residue)).join(", ")
    };
    assert_eq!(
        case(Partial::Off, ToolCalls::Keep),
        "",
        "byte for byte the published server"
    );
    assert_eq!(case(Partial::Auto, ToolCalls::Keep), "tool 1success, ai");
    assert_eq!(
        case(Partial::Off, ToolCalls::Repair),
        "tool 1success, tool 2error, tool 3error"
    );
}

#[test]
fn without_a_stored_head_only_the_record_keeps_what_was_said() {
    let mut case = Case::new(three_calls()).said("model", "m", "so");
    case.stored = None;
    let residue = case.residue();
    assert_eq!(residue.writes, None);
    assert_eq!(
        residue.head.values.to_value()["messages"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert!(residue.said.is_some());
}

#[test]
fn calls_that_the_conversation_passed_over_are_not_answered_out_of_place() {
    let mut messages = three_calls();
    messages
        .as_array_mut()
        .unwrap()
        .push(json!({"role": "user", "content": "never mind"}));
    assert_eq!(Case::new(messages).residue().writes, None);
}

#[test]
fn writes_that_cannot_be_read_or_are_no_results_are_left_alone() {
    let mut case = Case::new(json!([])).wrote("t1", "pickle", &result("1"));
    assert_eq!(case.residue().writes, None);
    case.stored.as_mut().unwrap().writes[0].blob.kind = "json".to_owned();
    case.stored.as_mut().unwrap().writes[0].index = -1;
    assert_eq!(case.residue().writes, None);
    case.stored.as_mut().unwrap().writes[0].index = 0;
    assert_eq!(written(&case.residue()).len(), 1);
}

#[test]
fn a_result_that_readers_see_already_is_kept_if_the_checkpoint_has_no_messages_yet() {
    let answer = json!({"role": "ai", "content": "left", "id": "l"});
    let residue = Case::new(json!([answer]))
        .wrote("t1", "json", &answer)
        .residue();
    assert_eq!(ids(&written(&residue)), ["l"]);
    let values: JsonMap = residue.head.values.parse().unwrap();
    assert_eq!(ids(values["messages"].as_array().unwrap()), ["l"]);
}

/// What Python stores of `[AIMessage("hello", id="a", tool_calls=[…])]`.
fn stored_by_python() -> Blob {
    const HEX: &str = "\
        91c7e10594ba6c616e67636861696e5f636f72652e6d657373616765732e6169a941494d65737361676589a7636f6e74\
        656e74a568656c6c6fb16164646974696f6e616c5f6b776172677380b1726573706f6e73655f6d6574616461746180a4\
        74797065a26169a46e616d65c0a26964a161aa746f6f6c5f63616c6c739184a46e616d65a6736561726368a461726773\
        81a57175657279a178a26964a137a474797065a9746f6f6c5f63616c6cb2696e76616c69645f746f6f6c5f63616c6c73\
        90ae75736167655f6d65746164617461c0b36d6f64656c5f76616c69646174655f6a736f6e";
    let bytes = (0..HEX.len()).step_by(2);
    let bytes = bytes.map(|at| u8::from_str_radix(&HEX[at..at + 2], 16).unwrap());
    Blob {
        kind: "msgpack".to_owned(),
        data: bytes.collect::<Vec<_>>().into(),
    }
}

#[test]
fn results_of_python_graphs_are_kept_as_well() {
    let question = json!({"role": "user", "content": "q", "id": "q"});
    let mut case = Case::new(question).wrote("t1", "json", &json!(null));
    case.stored.as_mut().unwrap().writes[0].blob = stored_by_python();
    let kept = written(&case.residue());
    assert_eq!(lines(&kept), ["ai", "tool 7error"]);
    assert_eq!(
        (&kept[0]["id"], &kept[0]["content"]),
        (&json!("a"), &json!("hello"))
    );
}

#[test]
fn a_checkpoint_of_a_python_graph_is_known_to_have_what_it_has() {
    let answer = json!({"role": "ai", "content": "hello", "id": "a", "tool_calls": [call("7")]});
    let mut case = Case::new(json!([answer])).wrote("t1", "json", &answer);
    let stored = case.stored.as_mut().unwrap();
    let channels = &mut stored.channels;
    channels.insert("messages".to_owned(), stored_by_python());
    assert_eq!(lines(&written(&case.residue())), ["tool 7error"]);
}

#[test]
fn calls_of_an_answer_that_was_put_together_from_chunks_are_answered_too() {
    let mut case = Case::new(three_calls());
    let mut messages = add_messages(&[], &case.messages).unwrap();
    messages.last_mut().unwrap()["type"] = "AIMessageChunk".into();
    case.messages = Value::Array(messages.clone());
    let values = json!({ "messages": messages });
    let residue = case.residue_of(Json::from_value(&values));
    assert_eq!(
        lines(&written(&residue)),
        ["tool 1error", "tool 2error", "tool 3error"]
    );
}

#[test]
fn a_call_made_by_a_finished_sibling_is_answered_too() {
    let asks = json!([{"role": "ai", "content": "", "id": "b", "tool_calls": [call("9")]}]);
    let question = json!([
        {"role": "ai", "content": "hello", "id": "a"},
    ]);
    let case = Case::new(question).wrote("t1", "json", &asks);
    assert_eq!(lines(&written(&case.residue())), ["ai", "tool 9error"]);
}

#[test]
fn a_result_that_readers_see_already_is_kept_if_the_checkpoint_lacks_it() {
    let question = json!({"role": "user", "content": "q", "id": "q"});
    let answer = json!({"role": "ai", "content": "left", "id": "l"});
    let mut case = Case::new(json!([question, answer])).wrote("t1", "json", &answer);
    let checkpointed = add_messages(&[], &question).unwrap();
    let stored = case.stored.as_mut().expect("a stored head");
    stored
        .channels
        .insert("messages".to_owned(), Blob::json(&checkpointed).unwrap());
    let residue = case.residue();
    assert_eq!(ids(&written(&residue)), ["l"]);
    let values: JsonMap = residue.head.values.parse().unwrap();
    assert_eq!(
        ids(values["messages"].as_array().unwrap()),
        ["q", "l"],
        "readers do not see it twice"
    );
}
