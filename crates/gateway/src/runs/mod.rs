//! Runs: created, looked at, streamed, waited for, cancelled, deleted.

mod admission;
mod attendance;
mod cancel;
mod create;
mod delete;
mod join;
mod outcome;
mod read;
mod submit;
mod waiting;

use runloom_api::runs::RunRefusal;
use utoipa_axum::router::OpenApiRouter;

pub(crate) use self::attendance::Attendance;
use crate::Gateway;
use crate::error::Refusal;

const TAG: &str = "Runs";

pub(crate) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .merge(read::router())
        .merge(create::router())
        .merge(join::router())
        .merge(cancel::router())
}

impl From<RunRefusal> for Refusal {
    fn from(refusal: RunRefusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}
