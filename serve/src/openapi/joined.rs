//! Replies of one status that come in two shapes.

use utoipa::openapi::{Content, RefOr, Response, example::ExampleBuilder, path::Operation};

use super::schemas::any_of;

const JSON: &str = "application/json";

/// Adds a reply to an operation; where it has one of that status already, a reply is either of them.
pub(crate) fn or(operation: &mut Operation, status: String, response: Response) {
    let all = &mut operation.responses.responses;
    let Some(RefOr::T(known)) = all.get_mut(&status) else {
        all.insert(status, response.into());
        return;
    };
    let content = |response: &Response| match response.content.get(JSON) {
        Some(RefOr::T(content)) => Some(content.clone()),
        _ => None,
    };
    let Some((one, other)) = content(known).zip(content(&response)) else {
        return;
    };
    let mut both = Content::new(Some(any_of(
        "Of the path, or of what is before it.",
        one.schema.iter().chain(&other.schema).cloned(),
    )));
    for mut content in [one, other] {
        both.examples.append(&mut content.examples);
        if let Some(value) = content.example {
            let example = ExampleBuilder::new().value(Some(value)).build();
            both.examples.insert("example".to_owned(), example.into());
        }
    }
    known.content.insert(JSON.to_owned(), both.into());
    known.description = format!("{} {}", known.description, response.description);
    known.headers.extend(response.headers);
}
