//! What is said of the server as a whole.

use utoipa::openapi::{InfoBuilder, OpenApi};

const ABOUT: &str = "Scores conversations with reward models. A score is a number; higher is better, and only differences between \
answers to the same prompt mean something. All dialects ask the same queue; on a CPU their scores have the same bits. Scores are raw \
unless a request asks for an activation, or its dialect has one by default; then the reply says so.\n\nA request that is refused \
is answered in the shape of its dialect. Where the status is 429 or 503, `Retry-After` says after how many seconds to try again. \
Every reply has an `x-request-id`, the client's own where it sends one.";

/// Completes what the routes say of themselves.
pub(crate) fn finish(api: &mut OpenApi) {
    api.info = InfoBuilder::new()
        .title("worldpm-ort")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(None)
        .build();
}
