//! How a request is refused, for the description of the server: each status, with an example in the shape of the dialect.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::{
    IntoResponses, PartialSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, RefOr, Response, ResponseBuilder, example::ExampleBuilder,
    },
};

use super::{
    problem::{Problem, ProblemKind},
    reply::{BodyFailure, Dialect, Failure},
};

/// Why a request with conversations may be refused, and with which words.
const REFUSALS: [(ProblemKind, &str, &str); 10] = [
    (
        ProblemKind::InvalidInput,
        "The request cannot be read, or asks for what cannot be had.",
        "the body is wrong: expected value at line 1 column 1",
    ),
    (
        ProblemKind::NotFound,
        "There is no such model.",
        "there is no model \"other\" here; there is worldpm",
    ),
    (
        ProblemKind::SlowRequest,
        "The body did not come in time.",
        "the body did not come within 30 s",
    ),
    (
        ProblemKind::TooLong,
        "A conversation has more tokens than the limit.",
        "the conversation has 40000 tokens, and the limit is 32768",
    ),
    (
        ProblemKind::TooLarge,
        "The body, or the number of conversations, is beyond the limit.",
        "the body is larger than 33554432 bytes: send fewer conversations at once",
    ),
    (
        ProblemKind::RateLimited,
        "The client sends more requests than it may.",
        "there are more requests of this client than it may send in a second",
    ),
    (
        ProblemKind::Internal,
        "A fault of the server.",
        "an error of the server; its log says more",
    ),
    (
        ProblemKind::Overloaded,
        "As much waits as may.",
        "as many requests are answered as may be; try again later",
    ),
    (
        ProblemKind::Unavailable,
        "Nothing is scored at the moment: the model is loaded, the server ends, or a device was lost.",
        "model `worldpm` is still being loaded; try again later",
    ),
    (
        ProblemKind::DeadlineExceeded,
        "It was not scored in time.",
        "it was not scored within its time",
    ),
];

/// Those of them that a request without conversations and without a model has.
const OF_BODIES: [ProblemKind; 6] = [
    ProblemKind::InvalidInput,
    ProblemKind::SlowRequest,
    ProblemKind::TooLarge,
    ProblemKind::RateLimited,
    ProblemKind::Internal,
    ProblemKind::Overloaded,
];

impl<D: Dialect> IntoResponses for Failure<D> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        by_status::<D>(|_| true)
    }
}

impl<D: Dialect> IntoResponses for BodyFailure<D> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        by_status::<D>(|kind| OF_BODIES.contains(&kind))
    }
}

fn by_status<D: Dialect>(
    is_possible: impl Fn(ProblemKind) -> bool,
) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for (kind, when, message) in REFUSALS {
        if is_possible(kind) {
            let status = D::status(kind).as_u16();
            let problem = Problem::new(kind, message);
            by_status.entry(status).or_default().push((problem, when));
        }
    }
    let responses = by_status.into_iter().map(|(status, problems)| {
        let response = refusals::<D::Body>(problems, D::body);
        (status.to_string(), response.into())
    });
    responses.collect()
}

/// The reply to problems that have one status.
pub(crate) fn refusals<B: PartialSchema + serde::Serialize>(
    problems: Vec<(Problem, &str)>,
    body: impl Fn(&Problem) -> B,
) -> Response {
    let said: Vec<&str> = problems.iter().map(|(_, when)| *when).collect();
    let mut response = ResponseBuilder::new().description(said.join(" "));
    if problems.iter().any(|(of, _)| of.kind.is_worth_a_retry()) {
        let header = HeaderBuilder::new()
            .schema(Some(u32::schema()))
            .description(Some("Seconds after which to try again."));
        response = response.header("Retry-After", header.build());
    }
    let examples = problems.iter().map(|(problem, _)| {
        let value = Some(json!(body(problem)));
        let example = ExampleBuilder::new().value(value).build();
        (problem.kind.as_str(), example)
    });
    let content = ContentBuilder::new()
        .schema(Some(B::schema()))
        .examples_from_iter(examples);
    response
        .content("application/json", content.build())
        .build()
}
