//! Runs.

use utoipa_axum::router::OpenApiRouter;

use crate::Gateway;

pub(crate) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
}
