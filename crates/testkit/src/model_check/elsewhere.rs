//! Random operations on assistants and items.

use rand::Rng;
use rand::rngs::StdRng;
use runloom_core::assistant::{Assistant, AssistantPatch, NewAssistant};
use runloom_core::ids::AssistantId;
use runloom_core::item::{ItemSearch, NamespaceSearch};
use runloom_core::json::{Json, JsonMap};
use runloom_core::search::{AssistantFilter, AssistantSort};
use runloom_core::thread::IfExists;
use serde_json::json;
use uuid::Uuid;

use super::generate::{metadata, object, order, page};
use super::operation::Operation;

/// The assistant of a new run.
pub(super) fn an_assistant(random: &mut StdRng) -> Assistant {
    let graph = "agent".into();
    Assistant {
        id: AssistantId::of_graph(&graph),
        graph_id: graph,
        config: object(&json!({"tags": ["x"]})),
        context: JsonMap::new(),
        created_at: chrono::DateTime::UNIX_EPOCH,
        updated_at: chrono::DateTime::UNIX_EPOCH,
        metadata: metadata(random),
        version: 1,
        name: "agent".to_owned(),
        description: None,
    }
}

/// An operation that has nothing to do with threads.
pub(super) fn operation(random: &mut StdRng) -> Operation {
    let id = AssistantId(Uuid::from_u128(random.random_range(0..2)));
    let names = ["Apple", "apple pie", "Ünü", "100%"];
    let name = names[random.random_range(0..names.len())].to_owned();
    match random.random_range(0..9) {
        0 => Operation::CreateAssistant(NewAssistant {
            id,
            graph_id: "agent".into(),
            config: JsonMap::new(),
            context: JsonMap::new(),
            metadata: metadata(random),
            name,
            description: None,
            if_exists: if random.random_bool(0.5) {
                IfExists::Raise
            } else {
                IfExists::DoNothing
            },
        }),
        1 => Operation::PatchAssistant(
            id,
            AssistantPatch {
                metadata: random.random_bool(0.5).then(|| metadata(random)),
                name: random.random_bool(0.5).then_some(name),
                ..AssistantPatch::default()
            },
        ),
        2 if random.random_bool(0.3) => Operation::DeleteAssistant(id),
        2 | 3 => Operation::SetAssistantVersion(id, random.random_range(1..4)),
        4 => {
            let keys = [
                AssistantSort::AssistantId,
                AssistantSort::CreatedAt,
                AssistantSort::UpdatedAt,
                AssistantSort::Name,
                AssistantSort::GraphId,
            ];
            let key = keys[random.random_range(0..keys.len())];
            let part = ["AP", "%", "pie"][random.random_range(0..3)].to_owned();
            let filter = AssistantFilter {
                name: random.random_bool(0.5).then_some(part),
                ..AssistantFilter::default()
            };
            Operation::SearchAssistants(filter, (key, order(random)), page(random))
        }
        5 | 6 => {
            let value = json!({"n": random.random_range(0..5), "t": name});
            Operation::PutItem(namespace(random), key(random), Json::from_value(&value))
        }
        7 if random.random_bool(0.4) => Operation::DeleteItem(namespace(random), key(random)),
        7 => Operation::Namespaces(NamespaceSearch {
            prefix: Vec::new(),
            suffix: Vec::new(),
            max_depth: random.random_bool(0.5).then_some(1),
            limit: random.random_range(0..5),
            offset: 0,
        }),
        _ => Operation::SearchItems(ItemSearch {
            prefix: namespace(random).into_iter().take(1).collect(),
            filter: object(&json!({"n": {"$gte": random.random_range(0..5)}})),
            limit: random.random_range(0..5),
            offset: random.random_range(0..2),
        }),
    }
}

fn namespace(random: &mut StdRng) -> Vec<String> {
    let depth = random.random_range(0..3);
    let label = |random: &mut StdRng| ["a", "a-b", "ä"][random.random_range(0..3)].to_owned();
    (0..depth).map(|_| label(random)).collect()
}

fn key(random: &mut StdRng) -> String {
    ["k", "l"][random.random_range(0..2)].to_owned()
}
