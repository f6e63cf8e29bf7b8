//! JSON Lines in, JSON Lines out: what `worldpm-ort score` reads and writes, as `score --endpoint` sends it.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Uri, header::CONTENT_TYPE};
use worldpm_ort_runtime::{
    answers::{AnswerLine, Outcome},
    records::{Entry, RecordReader},
};

use super::records::{self, Prepared};
use crate::{http::Problem, scoring::Asked};

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Whether a content type says that a body is JSON Lines.
pub(super) fn are_meant(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    [
        "application/x-ndjson",
        "application/jsonl",
        "application/x-jsonlines",
    ]
    .iter()
    .any(|known| essence.eq_ignore_ascii_case(known))
}

/// The model that a query names, as in `/v1/score?model=NAME`.
pub(super) fn model(uri: &Uri) -> Option<String> {
    let query = uri.query()?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| *name == "model");
    let (_, value) = named.next()?;
    percent_decoded(value)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

pub(super) async fn score(asked: &Asked, body: &[u8]) -> Result<Response, Problem> {
    let mut prepared = Vec::new();
    for read in RecordReader::new(body) {
        let fatal = read.as_ref().is_err_and(|error| error.is_fatal);
        let (entry, conversations) = Entry::prepare(read, true);
        prepared.push(Prepared::of_entry(entry, conversations));
        if fatal {
            break;
        }
    }
    let mut reply = Vec::new();
    for (entry, outcome) in records::score(asked, prepared).await? {
        let line = AnswerLine {
            id: entry.as_ref().and_then(|entry| entry.id.as_ref()),
            outcome: match outcome {
                Ok(scored) => Outcome::Answer((&records::reward(entry.as_ref(), &scored)?).into()),
                Err(problem) => Outcome::Failure {
                    line: entry.as_ref().map_or(0, |entry| entry.line),
                    error: problem.message,
                },
            },
        };
        serde_json::to_writer(&mut reply, &line)
            .map_err(|error| Problem::invalid(error.to_string()))?;
        reply.push(b'\n');
    }
    let mut response = reply.into_response();
    response.headers_mut().insert(CONTENT_TYPE, LINES);
    Ok(response)
}
