//! Requests that are refused before their body is read.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;

use super::problem::Problem;

/// How much of the body of such a request is taken, so that a client which sends before it reads comes to its reply.
const MOST_BYTES: usize = 1 << 20;
const MOST_TIME: Duration = Duration::from_secs(1);

/// An extension of a request that is not to be answered: its dialect says why, as it says everything else.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) Problem);

/// Takes what a client sends, and throws it away.
pub(crate) async fn discard(mut body: Body) {
    let all = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > MOST_BYTES {
                return;
            }
        }
    };
    // The connection of a client that sends on is closed.
    let _ = tokio::time::timeout(MOST_TIME, all).await;
}
