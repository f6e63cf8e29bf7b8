//! The paths of TEI.

use axum::{
    Router,
    routing::{get, post},
};

use super::{info::info, predict::predict, rerank::rerank};
use crate::state::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/predict", post(predict))
        .route("/rerank", post(rerank))
        .route("/info", get(info))
}
