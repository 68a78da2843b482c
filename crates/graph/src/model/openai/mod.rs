//! Models behind an endpoint that speaks OpenAI's chat completions, OpenAI's own and the many that
//! imitate it.
//!
//! Transport, framing and retries are `async-openai`'s. The bodies are ours: the imitations differ
//! from OpenAI's types in small ways, and our messages are not OpenAI's.

mod error;
mod request;
mod response;

use std::fmt;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::ReqwestService;
use async_openai::middleware::retry::SimpleRetryPolicy;
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::Value;
use tokio::time::timeout;
use tower::ServiceBuilder;

use self::response::{Event, Reader};
use super::chunk::Chunk;
use super::{ChatModel, ChunkStream, ModelError, ModelRequest};

/// How long to wait, after the answer itself, for what it cost.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// Where a model is and how patient to be with it.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenAiConfig {
    /// Up to the version: `https://api.openai.com/v1`.
    pub base_url: String,
    /// Sent as bearer token; may be empty for local endpoints.
    pub api_key: String,
    /// The name of the model.
    pub model: String,
    /// How often a request is repeated that the endpoint could not serve, before its answer began.
    pub retries: usize,
    /// How long to wait for the answer to begin, and then for each piece of it.
    pub patience: Duration,
}

impl OpenAiConfig {
    /// With the usual patience.
    pub fn new(
        base_url: impl Into<String>,
        api_key: impl Into<String>,
        model: impl Into<String>,
    ) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: api_key.into(),
            model: model.into(),
            retries: 2,
            patience: Duration::from_mins(5),
        }
    }
}

/// The key stays out of logs.
impl fmt::Debug for OpenAiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiConfig")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .field("retries", &self.retries)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// A model behind an OpenAI-compatible endpoint.
#[derive(Clone)]
pub struct OpenAi {
    client: Client<OpenAIConfig>,
    model: String,
    patience: Duration,
}

impl OpenAi {
    /// A model as `config` says. Nothing is sent yet.
    pub fn new(config: OpenAiConfig) -> Result<Self, ModelError> {
        let settings = |what: &str| ModelError::Settings(what.to_owned());
        if !config.api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(settings(
                "the key holds characters that no header can carry",
            ));
        }
        let base_url = reqwest::Url::parse(&config.base_url)
            .map_err(|error| settings(&format!("the base URL is none: {error}")))?;
        if !matches!(base_url.scheme(), "http" | "https") {
            return Err(settings("the base URL must begin with http:// or https://"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| settings(&error.to_string()))?;
        let endpoint = OpenAIConfig::new()
            .with_api_base(config.base_url.trim_end_matches('/'))
            .with_api_key(config.api_key)
            // Not from the environment, where the library would look for them.
            .with_org_id("")
            .with_project_id("");
        let service = ServiceBuilder::new()
            .and_then(error::refuse_failures)
            .retry(SimpleRetryPolicy::new(config.retries))
            .service(ReqwestService::new(http.clone()));
        Ok(Self {
            client: Client::build(http, endpoint).with_http_service(service),
            model: config.model,
            patience: config.patience,
        })
    }
}

impl ChatModel for OpenAi {
    fn stream(&self, request: ModelRequest) -> ChunkStream {
        let body = request::body(&self.model, &request);
        let (client, patience) = (self.client.clone(), self.patience);
        let opened = async move {
            let chat = client.chat();
            let opening = chat.create_stream_byot::<Value, Event>(body);
            let events = timeout(patience, opening)
                .await
                .map_err(|_| ModelError::Silent(patience))?
                .map_err(error::of_client)?;
            Ok(chunks(events, patience))
        };
        futures::stream::once(opened).try_flatten().boxed()
    }
}

/// The chunks of an answer. Ends with an error unless the endpoint said that the answer is whole.
fn chunks(
    events: impl Stream<Item = Result<Event, OpenAIError>> + Send + Unpin + 'static,
    patience: Duration,
) -> impl Stream<Item = Result<Chunk, ModelError>> + Send {
    let state = (events, Reader::default());
    futures::stream::try_unfold(state, move |(mut events, mut reader)| async move {
        loop {
            let patience = match reader.end() {
                Ok(()) => patience.min(AFTERWARDS),
                Err(_) => patience,
            };
            let event = match timeout(patience, events.next()).await {
                Err(_) => Err(ModelError::Silent(patience)),
                Ok(None) => return reader.end().map(|()| None),
                Ok(Some(event)) => event.map_err(error::of_client),
            };
            match event.and_then(|event| reader.read(event)) {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return Ok(Some((chunk, (events, reader)))),
                // What is broken after the end of the answer does not matter.
                Err(_) if reader.end().is_ok() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    })
}
