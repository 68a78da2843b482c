//! The assistants that the server itself keeps: one for each graph, under an id that clients derive
//! from the graph's name.

use runloom_core::assistant::NewAssistant;
use runloom_core::database::DatabaseError;
use runloom_core::executor::GraphInfo;
use runloom_core::ids::AssistantId;
use runloom_core::json::JsonMap;
use runloom_core::thread::IfExists;

use crate::Gateway;

/// Makes sure that each graph has its assistant. To be called before the first request.
pub async fn ensure_assistants(gateway: &Gateway) -> Result<(), DatabaseError> {
    for graph in gateway.registry().infos() {
        ensure(gateway, &graph).await?;
    }
    Ok(())
}

async fn ensure(gateway: &Gateway, graph: &GraphInfo) -> Result<(), DatabaseError> {
    let created_by = [("created_by".to_owned(), "system".into())];
    let new = NewAssistant {
        id: AssistantId::of_graph(&graph.id),
        graph_id: graph.id.clone(),
        config: JsonMap::new(),
        context: JsonMap::new(),
        metadata: JsonMap::from_iter(created_by),
        name: graph.id.to_string(),
        description: graph.description.clone(),
        if_exists: IfExists::DoNothing,
    };
    gateway.database().create_assistant(new).await.map(drop)
}

/// Makes the assistant anew if it is one that the server keeps.
pub(super) async fn restore(gateway: &Gateway, id: AssistantId) -> Result<(), DatabaseError> {
    let mut graphs = gateway.registry().infos().into_iter();
    match graphs.find(|graph| AssistantId::of_graph(&graph.id) == id) {
        Some(graph) => ensure(gateway, &graph).await,
        None => Ok(()),
    }
}
