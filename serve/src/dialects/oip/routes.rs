//! Both front ends.

use utoipa_axum::router::OpenApiRouter;

use super::{grpc, rest};
use crate::state::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .merge(rest::routes())
        .merge(grpc::routes())
}
