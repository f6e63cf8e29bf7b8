//! The paths of TEI.

use utoipa_axum::{router::OpenApiRouter, routes};

use super::{info, predict, refusal::TAG, rerank};
use crate::{openapi::tagged, state::App};

pub(crate) fn routes() -> OpenApiRouter<App> {
    tagged(
        TAG,
        "Hugging Face's. Overload is 429 here; headers say where the time went: `x-compute-time`, `x-total-time`, \
         `x-tokenization-time`, `x-queue-time` and `x-inference-time`, in milliseconds.",
    )
    .routes(routes!(predict::predict))
    .routes(routes!(rerank::rerank))
    .routes(routes!(info::info))
}
