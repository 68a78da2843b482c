//! The agent that is served when nobody brings an own graph: it knows the weather.

mod weather;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use runloom_graph::model::openai::OpenAiConfig;
use runloom_graph::model::{ChatModel, OpenAi, ScriptedModel};
use runloom_graph::prebuilt::Agent;
use runloom_graph::tool::{Tool, tool};
use runloom_graph::{BuildError, CompiledGraph, NodeContext, StateGraph};

use self::weather::Query;
use crate::cli::ModelArgs;

const SEARCH: &str = "weather_search";

/// How long a search takes. With the pace of the scripted model, a turn is in the middle of its last
/// answer two seconds after it began.
const SEARCH_TIME: Duration = Duration::from_millis(500);

/// The agent, with the model behind an endpoint or, if none is given, one that follows a script.
pub(crate) fn agent(model: &ModelArgs) -> anyhow::Result<CompiledGraph> {
    let Some(base_url) = &model.openai_base_url else {
        return Ok(with(scripted())?);
    };
    let endpoint = OpenAiConfig::new(base_url, &model.openai_api_key, &model.openai_model);
    let model = OpenAi::new(endpoint).context("the demo agent cannot use its model")?;
    Ok(with(model)?)
}

fn with(model: impl ChatModel) -> Result<CompiledGraph, BuildError> {
    let description = "Answers questions about the weather with the help of a search tool.";
    Agent::new(model)
        .prompt("You tell people about the weather. Use the search tool; answer in two sentences.")
        .tools([search()])
        .on(StateGraph::new().description(description))
        .compile()
}

fn scripted() -> ScriptedModel {
    ScriptedModel::asking(SEARCH, weather::tell)
}

fn search() -> Arc<dyn Tool> {
    let description = "Finds the current weather of a place.";
    tool(
        SEARCH,
        description,
        |query: Query, _: NodeContext| async move {
            tokio::time::sleep(SEARCH_TIME).await;
            Ok(weather::look_up(&query.query))
        },
    )
}

#[cfg(test)]
mod tests {
    use runloom_graph::model::scripted::Pace;

    use super::*;

    /// Two seconds after a turn began, the tool has long answered and the last answer is long not
    /// over; and nobody waits for more than four.
    #[test]
    fn a_turn_is_in_its_last_answer_after_two_seconds() {
        for query in [
            "what's the weather in sf?",
            "nyc",
            "weather in Springfield",
            "",
        ] {
            let report = serde_json::to_string(&weather::look_up(query)).unwrap();
            let words = weather::tell(&report).split(' ').count();
            let answered = Pace::HUMAN.call + SEARCH_TIME;
            let words = u32::try_from(words).unwrap();
            let ends = answered + Pace::HUMAN.think + Pace::HUMAN.word * (words - 1);
            assert!(
                answered < Duration::from_millis(1_400),
                "{query:?}: {answered:?}"
            );
            assert!(ends > Duration::from_millis(2_900), "{query:?}: {ends:?}");
            assert!(ends < Duration::from_millis(3_900), "{query:?}: {ends:?}");
        }
    }

    #[test]
    fn the_agent_searches_with_one_text() {
        let definition = search().definition();
        assert_eq!(definition.name, "weather_search");
        assert_eq!(
            definition.parameters["required"],
            serde_json::json!(["query"])
        );
        let property = &definition.parameters["properties"]["query"];
        assert_eq!(property["type"], "string");
        assert!(
            property["description"]
                .as_str()
                .unwrap()
                .starts_with("The place")
        );
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_is_refused_at_the_start() {
        let model = ModelArgs {
            openai_base_url: Some("nonsense".to_owned()),
            openai_api_key: String::new(),
            openai_model: "m".to_owned(),
        };
        let error = format!("{:#}", agent(&model).unwrap_err());
        assert!(
            error.starts_with("the demo agent cannot use its model: "),
            "{error}"
        );
    }
}
