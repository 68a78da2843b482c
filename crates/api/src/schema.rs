//! Parts of the OpenAPI document for words that belong to the core, which knows nothing of it.

use runloom_core::thread::ThreadStatus;
use strum::VariantNames;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Object, schema::Schema};

fn one_of(words: &[&str]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.iter().copied()))
        .build()
}

/// Any JSON at all.
pub fn any() -> Schema {
    Schema::Object(
        Object::builder()
            .schema_type(utoipa::openapi::schema::SchemaType::AnyValue)
            .build(),
    )
}

/// Where a thread stands.
pub fn thread_status() -> Object {
    one_of(ThreadStatus::VARIANTS)
}

/// What to do if something exists already.
pub fn if_exists() -> Object {
    one_of(&["raise", "do_nothing"])
}

/// The direction of a list.
pub fn sort_order() -> Object {
    one_of(&["asc", "desc"])
}

/// What threads can be ordered by.
pub fn thread_sort() -> Object {
    one_of(&[
        "thread_id",
        "status",
        "created_at",
        "updated_at",
        "state_updated_at",
    ])
}

/// What assistants can be ordered by.
pub fn assistant_sort() -> Object {
    one_of(&[
        "assistant_id",
        "created_at",
        "updated_at",
        "name",
        "graph_id",
    ])
}
