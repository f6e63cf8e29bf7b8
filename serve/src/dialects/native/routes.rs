//! The paths of our own dialect.

use axum::{Router, routing::post};

use super::{compare::compare, rank::rank, render::render, score::score};
use crate::state::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/score", post(score))
        .route("/v1/compare", post(compare))
        .route("/v1/rank", post(rank))
        .route("/v1/render", post(render))
}
