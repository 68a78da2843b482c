//! What handlers read from a request, refused in the form that clients of the published server know.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use axum::RequestPartsExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use runloom_api::error::ErrorCode;
use runloom_core::ids::{AssistantId, CheckpointId, GraphId, RunId, ThreadId};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use uuid::Uuid;

use crate::Gateway;
use crate::error::{Refusal, known_graphs};
use crate::sound::Sound;

/// A JSON object, whatever its content type says. Fields that `T` does not know are ignored.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Gateway> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, gateway: &Gateway) -> Result<Self, Refusal> {
        object(&read(request, gateway).await?).map(Self)
    }
}

/// A JSON body that is a list of objects.
pub(crate) struct ListBody<T>(pub(crate) Vec<T>);

impl<T: DeserializeOwned> FromRequest<Gateway> for ListBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, gateway: &Gateway) -> Result<Self, Refusal> {
        let bodies: Vec<Object<T>> = parse(&read(request, gateway).await?)?;
        Ok(Self(bodies.into_iter().map(|Object(body)| body).collect()))
    }
}

/// What must be written as an object: derived types would take a list of their fields, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// A JSON object that did not come as a request.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let Object(object) = parse(bytes)?;
    Ok(object)
}

async fn read(request: Request, gateway: &Gateway) -> Result<Bytes, Refusal> {
    let limit = gateway.config.body_limit;
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    Bytes::from_request(request, gateway)
        .await
        .map_err(|rejection| match rejection.status().as_u16() {
            413 => too_large(limit),
            _ => Refusal::bad_request("The request body could not be read"),
        })
}

fn too_large(limit: usize) -> Refusal {
    let detail = format!("Request body exceeds the limit of {limit} bytes");
    Refusal::new(ErrorCode::TooLarge, detail)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    // First: a wrong type may be met before the place where the text stops being JSON.
    if serde_json::from_slice::<Sound>(bytes).is_err() {
        return Err(Refusal::invalid("Invalid JSON in request body"));
    }
    serde_json::from_slice(bytes).map_err(|error| Refusal::invalid(error.to_string()))
}

/// The query, in which a name may stand several times. Names nobody asks for are ignored.
#[derive(Debug, Default)]
pub(crate) struct QueryParams(Vec<(String, String)>);

impl QueryParams {
    /// The value of `name`; the last one counts.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().rev().filter(|(key, _)| key == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// All values of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Whether `name` is set to `1`, `true` or `yes`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(truthy)
    }

    /// The number `name`.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let parse = |text: &str| {
            let detail = format!("Invalid value for query parameter '{name}': '{text}'");
            text.trim()
                .parse()
                .map_err(|_| Refusal::bad_request(detail))
        };
        self.get(name).map(parse).transpose()
    }
}

/// Whether a query's value means yes.
pub(crate) fn truthy(text: &str) -> bool {
    ["1", "true", "yes"]
        .iter()
        .any(|yes| text.eq_ignore_ascii_case(yes))
}

impl<S: Send + Sync> FromRequestParts<S> for QueryParams {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query: Result<Query<Vec<(String, String)>>, _> = Query::try_from_uri(&parts.uri);
        match query {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(error) => Err(Refusal::bad_request(error.body_text())),
        }
    }
}

/// The thread that the path names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadPath(pub(crate) ThreadId);

impl<S: Send + Sync> FromRequestParts<S> for ThreadPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        id(&segment(parts, "thread_id").await?, "thread").map(Self)
    }
}

/// The run of a thread that the path names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunPath {
    pub(crate) thread: ThreadId,
    pub(crate) run: RunId,
}

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self {
            thread: id(&segment(parts, "thread_id").await?, "thread")?,
            run: id(&segment(parts, "run_id").await?, "run")?,
        })
    }
}

/// The run that the path names, without its thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoneRunPath(pub(crate) RunId);

impl<S: Send + Sync> FromRequestParts<S> for LoneRunPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        id(&segment(parts, "run_id").await?, "run").map(Self)
    }
}

/// The assistant that the path names, by its id or by the name of its graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AssistantPath(pub(crate) AssistantId);

impl FromRequestParts<Gateway> for AssistantPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Refusal> {
        gateway
            .assistant_id(&segment(parts, "assistant_id").await?)
            .map(Self)
    }
}

/// The last part of the path, as it stands there.
#[derive(Clone, Debug)]
pub(crate) struct NamespacePath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for NamespacePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        segment(parts, "namespace").await.map(Self)
    }
}

/// The checkpoint of a thread that the path names.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointPath {
    pub(crate) thread: ThreadId,
    pub(crate) checkpoint: CheckpointId,
}

impl<S: Send + Sync> FromRequestParts<S> for CheckpointPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self {
            thread: id(&segment(parts, "thread_id").await?, "thread")?,
            checkpoint: checkpoint_id(&segment(parts, "checkpoint_id").await?)?,
        })
    }
}

/// A checkpoint's id as clients give it.
pub(crate) fn checkpoint_id(text: &str) -> Result<CheckpointId, Refusal> {
    let id: Uuid = text
        .parse()
        .map_err(|_| Refusal::invalid("Invalid checkpoint ID: must be a UUID"))?;
    // In the form that they are stored in, so that texts can be compared.
    Ok(CheckpointId(id.to_string()))
}

impl Gateway {
    /// The assistant that `text` names: the system's one of that graph, or the one with that id.
    pub(crate) fn assistant_id(&self, text: &str) -> Result<AssistantId, Refusal> {
        let graph = GraphId(text.to_owned());
        if self.registry().info(&graph).is_some() {
            return Ok(AssistantId::of_graph(&graph));
        }
        text.parse().map_err(|_| {
            Refusal::invalid(format!(
                "Invalid assistant: '{text}'. Must be either a UUID or one of the known graphs: {}",
                known_graphs(self.registry())
            ))
        })
    }
}

async fn segment(parts: &mut Parts, name: &str) -> Result<String, Refusal> {
    let params: RawPathParams = parts
        .extract()
        .await
        .map_err(|_| Refusal::invalid("Invalid path: must be UTF-8"))?;
    let value = params.iter().find(|(key, _)| *key == name);
    let value = value.map(|(_, value)| value.to_owned());
    Ok(value.expect("the route has this parameter"))
}

/// An id as clients give it; `what` says of what.
pub(crate) fn id<T: From<Uuid>>(text: &str, what: &str) -> Result<T, Refusal> {
    let id: Uuid = text
        .parse()
        .map_err(|_| Refusal::invalid(format!("Invalid {what} ID: must be a UUID")))?;
    Ok(id.into())
}
