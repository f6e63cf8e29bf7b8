//! The paths of our own dialect.

use utoipa_axum::{router::OpenApiRouter, routes};

use super::{compare, described::TAG, rank, render, score};
use crate::{openapi::tagged, state::App};

pub(crate) fn routes() -> OpenApiRouter<App> {
    tagged(
        TAG,
        "Our own: records in every form that `worldpm-ort score` reads, and all that is known of a score.",
    )
    .routes(routes!(score::score))
    .routes(routes!(compare::compare))
    .routes(routes!(rank::rank))
    .routes(routes!(render::render))
}
