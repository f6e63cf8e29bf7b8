//! Our own dialect: records in every form that `worldpm-ort score` reads, and all that is known of a score.
//!
//! | path | request | reply |
//! |---|---|---|
//! | `/v1/score` | a record, or `{"records": [record, …]}` | its answer, or `{"results": […]}` |
//! | `/v1/score` | JSON Lines, as `application/x-ndjson` | JSON Lines, as `worldpm-ort score` writes them |
//! | `/v1/compare` | a pair: `prompt` or none, `chosen`, `rejected` | both scores, `margin`, `probability` |
//! | `/v1/rank` | `prompt` or `messages`, and `responses` | the responses with scores, best first |
//! | `/v1/render` | a record of one conversation | the text that the template makes of it, and where it is scored |
//!
//! A record that cannot be scored has an `error` in place of a score and touches no other. When one was refused because the
//! server has too much to do, the whole request is.

mod answer;
mod compare;
mod described;
mod lines;
mod rank;
mod records;
mod refusal;
mod render;
mod routes;
mod score;

pub(crate) use routes::routes;
