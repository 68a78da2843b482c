//! Tools: functions that a model may call.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::NodeContext;
use crate::error::NodeError;
use crate::model::ToolDefinition;

/// The kind of the error when a model's arguments do not fit a tool.
pub const BAD_ARGUMENTS: &str = "ToolArgumentsError";

/// A function that a model may call.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// What the model is told about it.
    fn definition(&self) -> ToolDefinition;

    /// Answers one call. A text is shown to the model as it is, anything else as JSON. A failure is
    /// shown to the model, too; `context.interrupt` and cancellation pass through it.
    ///
    /// When the run is stopped, the future is dropped.
    async fn call(&self, args: Value, context: NodeContext) -> Result<Value, NodeError>;
}

/// The tool `name` that calls `function` with what the model sends. The schema of the arguments is
/// drawn from their type; doc comments on its fields tell the model what they mean.
pub fn tool<A, T, F, Fut>(
    name: impl Into<String>,
    description: impl Into<String>,
    function: F,
) -> Arc<dyn Tool>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    T: Serialize + 'static,
    F: Fn(A, NodeContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, NodeError>> + Send + 'static,
{
    let definition = ToolDefinition {
        name: name.into(),
        description: description.into(),
        parameters: parameters::<A>(),
    };
    Arc::new(FunctionTool {
        definition,
        function,
        arguments: PhantomData,
    })
}

struct FunctionTool<F, A> {
    definition: ToolDefinition,
    function: F,
    arguments: PhantomData<fn(A)>,
}

#[async_trait]
impl<A, T, F, Fut> Tool for FunctionTool<F, A>
where
    A: DeserializeOwned + Send + 'static,
    T: Serialize + 'static,
    F: Fn(A, NodeContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, NodeError>> + Send + 'static,
{
    fn definition(&self) -> ToolDefinition {
        self.definition.clone()
    }

    async fn call(&self, args: Value, context: NodeContext) -> Result<Value, NodeError> {
        let args = serde_json::from_value(args)
            .map_err(|error| NodeError::new(BAD_ARGUMENTS, error.to_string()))?;
        Ok(serde_json::to_value((self.function)(args, context).await?)?)
    }
}

/// The schema of `A` in one piece, for not every model follows references.
fn parameters<A: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<A>()
        .to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("title");
    }
    schema
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Search {
        /// What to look for.
        query: String,
        place: Option<Place>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Place {
        city: String,
    }

    #[test]
    fn arguments_are_described_by_a_schema_in_one_piece() {
        let search = tool("search", "Finds.", async |_: Search, _| Ok("found"));
        let parameters = search.definition().parameters;
        assert_eq!(parameters["type"], "object");
        assert_eq!(parameters["required"], json!(["query"]));
        let query = json!({"description": "What to look for.", "type": "string"});
        assert_eq!(parameters["properties"]["query"], query);
        let text = parameters.to_string();
        assert!(text.contains("city") && !text.contains("$ref"), "{text}");
    }
}
