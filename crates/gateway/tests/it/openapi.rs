//! The document: what it says, and that it covers what the published clients call.

use std::collections::BTreeSet;

use runloom_gateway::document;
use serde_json::Value;

use crate::support::Server;

/// What the published Python and JavaScript clients, their hooks and the remote graph call, less
/// what is not served yet: schedules, and the newer protocol of commands and events.
const CALLED: &[&str] = &[
    "POST /assistants",
    "POST /assistants/search",
    "POST /assistants/count",
    "GET /assistants/{assistant_id}",
    "PATCH /assistants/{assistant_id}",
    "DELETE /assistants/{assistant_id}",
    "POST /assistants/{assistant_id}/versions",
    "POST /assistants/{assistant_id}/latest",
    "GET /assistants/{assistant_id}/graph",
    "GET /assistants/{assistant_id}/schemas",
    "GET /assistants/{assistant_id}/subgraphs",
    "GET /assistants/{assistant_id}/subgraphs/{namespace}",
    "POST /threads",
    "POST /threads/search",
    "POST /threads/count",
    "POST /threads/prune",
    "GET /threads/{thread_id}",
    "PATCH /threads/{thread_id}",
    "DELETE /threads/{thread_id}",
    "POST /threads/{thread_id}/copy",
    "GET /threads/{thread_id}/state",
    "POST /threads/{thread_id}/state",
    "PATCH /threads/{thread_id}/state",
    "GET /threads/{thread_id}/state/{checkpoint_id}",
    "POST /threads/{thread_id}/state/checkpoint",
    "POST /threads/{thread_id}/history",
    "GET /threads/{thread_id}/runs",
    "POST /threads/{thread_id}/runs",
    "POST /threads/{thread_id}/runs/stream",
    "POST /threads/{thread_id}/runs/wait",
    "GET /threads/{thread_id}/runs/{run_id}",
    "DELETE /threads/{thread_id}/runs/{run_id}",
    "GET /threads/{thread_id}/runs/{run_id}/join",
    "GET /threads/{thread_id}/runs/{run_id}/stream",
    "POST /threads/{thread_id}/runs/{run_id}/cancel",
    "POST /runs",
    "POST /runs/stream",
    "POST /runs/wait",
    "POST /runs/batch",
    "POST /runs/cancel",
    "GET /runs/{run_id}/stream",
    "PUT /store/items",
    "GET /store/items",
    "DELETE /store/items",
    "POST /store/items/search",
    "POST /store/namespaces",
];

/// What no client calls, but people and operators do.
const BESIDES: &[&str] = &[
    "GET /",
    "GET /ok",
    "GET /ready",
    "GET /info",
    "GET /threads/{thread_id}/history",
    "GET /runs/{run_id}",
    "GET /runs/{run_id}/join",
];

fn described() -> BTreeSet<String> {
    let document = serde_json::to_value(document()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect()
}

#[test]
fn all_that_the_published_clients_call_is_served_and_nothing_unheard_of() {
    let promised: BTreeSet<_> = CALLED
        .iter()
        .chain(BESIDES)
        .map(ToString::to_string)
        .collect();
    let described = described();
    let missing: Vec<_> = promised.difference(&described).collect();
    let unheard_of: Vec<_> = described.difference(&promised).collect();
    assert!(missing.is_empty(), "not served: {missing:#?}");
    assert!(unheard_of.is_empty(), "promised to nobody: {unheard_of:#?}");
}

#[tokio::test]
async fn the_document_that_is_served_is_the_one_that_is_reviewed() {
    let server = Server::start().await;
    let found = server.get("/openapi.json").await.json(200);
    assert_eq!(found, serde_json::to_value(document()).unwrap());
    insta::assert_json_snapshot!("openapi", found);
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
    let document = serde_json::to_value(document()).unwrap();
    let mut names = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("default"), "{name}");
            for (status, response) in responses {
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{name} {status} means nothing");
            }
            assert!(
                operation["summary"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{name}"
            );
        }
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                references.push(reference.clone());
            }
            fields.values().for_each(|field| collect(field, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
