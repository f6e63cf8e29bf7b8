//! Headers that say where the time of a request went, in milliseconds.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::scoring::Scored;

/// What a request came to, for its headers.
pub(super) fn headers(begun: Instant, characters: usize, scored: &[Scored]) -> HeaderMap {
    let most = |time: fn(&Scored) -> Duration| scored.iter().map(time).max().unwrap_or_default();
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let tokens: usize = scored.iter().map(|scored| scored.reward.tokens).sum();
    let total = milliseconds(begun.elapsed());
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-compute-type", "onnxruntime".to_owned()),
        ("x-compute-time", total.clone()),
        ("x-compute-characters", characters.to_string()),
        ("x-compute-tokens", tokens.to_string()),
        ("x-total-time", total),
        (
            "x-tokenization-time",
            milliseconds(most(|scored| scored.times.tokenizing)),
        ),
        (
            "x-queue-time",
            milliseconds(most(|scored| scored.times.queued)),
        ),
        (
            "x-inference-time",
            milliseconds(most(|scored| scored.times.computing)),
        ),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}
