//! What OpenAI's API and its imitators share: errors, and the frame of a reply.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    http::{Dialect, Problem},
    scoring::Scored,
};

/// OpenAI's way to refuse, which vLLM and SGLang have too. Overload is 503: verl never tries again after a 4xx.
pub(crate) struct OpenAi;

impl Dialect for OpenAi {
    fn body(problem: &Problem) -> Value {
        json!({"error": {
            "message": problem.message,
            "type": problem.kind.as_str(),
            "param": null,
            "code": Self::status(problem.kind).as_u16(),
        }})
    }
}

/// Tokens, as OpenAI counts them.
#[derive(Debug, Serialize)]
pub(crate) struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
    completion_tokens: usize,
    prompt_tokens_details: Option<()>,
}

impl Usage {
    pub(crate) fn of(scored: &[Scored]) -> Self {
        let tokens = scored.iter().map(|scored| scored.reward.tokens).sum();
        Self {
            prompt_tokens: tokens,
            total_tokens: tokens,
            completion_tokens: 0,
            prompt_tokens_details: None,
        }
    }
}

/// An id for a reply.
pub(crate) fn reply_id(prefix: &str) -> String {
    format!("{prefix}-{:032x}", fastrand::u128(..))
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}
