//! What OpenAI's API and its imitators share: errors, and the frame of a reply.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{Dialect, Problem},
    openapi::null,
    scoring::Scored,
};

/// OpenAI's way to refuse, which vLLM and SGLang have too. Overload is 503: verl never tries again after a 4xx.
pub(crate) struct OpenAi;

impl Dialect for OpenAi {
    type Body = OpenAiError;

    fn body(problem: &Problem) -> OpenAiError {
        OpenAiError {
            error: Reason {
                message: problem.message.clone(),
                of_type: problem.kind.as_str(),
                param: None,
                code: Self::status(problem.kind).as_u16(),
            },
        }
    }
}

/// An error, as OpenAI's clients read it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    #[schema(inline)]
    error: Reason,
}

#[derive(Debug, Serialize, ToSchema)]
struct Reason {
    /// What is wrong, and what to do.
    message: String,
    /// A name that stays, such as `invalid_input`.
    #[serde(rename = "type")]
    of_type: &'static str,
    #[schema(schema_with = null, required = true)]
    param: Option<()>,
    /// The status of the reply.
    code: u16,
}

/// Tokens, as OpenAI counts them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Tokens of all conversations.
    prompt_tokens: usize,
    /// The same: nothing is generated.
    total_tokens: usize,
    /// 0.
    completion_tokens: usize,
    #[schema(schema_with = null, required = true)]
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
