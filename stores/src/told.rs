//! What the client of a store says, told without anything secret.

use std::error::Error;

use crate::{
    error::{StoreError, StoreErrorKind},
    url::Url,
};

/// What the client says of an object.
pub(crate) fn told(url: &Url, error: &object_store::Error) -> StoreError {
    let (kind, problem) = classify(url, error);
    StoreError::new(&url.to_string(), kind, &problem)
}

/// That an object is another than it was.
pub(crate) fn changed(url: &Url) -> StoreError {
    StoreError::new(
        &url.to_string(),
        StoreErrorKind::Changed,
        "the object was replaced while it was read: read it again when nobody writes to it",
    )
}

fn classify(url: &Url, error: &object_store::Error) -> (StoreErrorKind, String) {
    use object_store::Error as E;
    let causes: Vec<_> = causes(error).iter().map(ToString::to_string).collect();
    let text = causes.join("; ");
    // The answer's own word, as in <Code>NoSuchBucket</Code>. The rest of it may repeat what was sent.
    let code = code(&text);
    let says = code.map_or(String::new(), |code| format!(", it says {code}"));
    let (kind, credentials) = (url.kind, url.kind.credentials());
    let bucket = kind.bucket();
    let no_bucket = ["NoSuchBucket", "ContainerNotFound"];
    match error {
        _ if code.is_some_and(|code| no_bucket.contains(&code)) => (
            StoreErrorKind::NotFound,
            format!(
                "there is no such {bucket}: check its name, and {}",
                kind.endpoint()
            ),
        ),
        E::NotFound { .. } => (
            StoreErrorKind::NotFound,
            format!("there is no such object (or no such {bucket}): check its name"),
        ),
        E::PermissionDenied { .. } => (
            StoreErrorKind::Access,
            format!(
                "access is denied (status 403{says}): check the credentials, {credentials}, and what they may do"
            ),
        ),
        E::Unauthenticated { .. } => (
            StoreErrorKind::Access,
            format!("the credentials are not accepted (status 401{says}): check {credentials}"),
        ),
        E::Precondition { .. } => (
            StoreErrorKind::Changed,
            "the object was replaced".to_owned(),
        ),
        _ if text.contains("URL scheme is not allowed") => (
            StoreErrorKind::Setting,
            format!(
                "the endpoint is http://, where anyone on the way reads along: set {}=true if that is meant",
                kind.allow_http()
            ),
        ),
        _ if asks_metadata(&text) => (
            StoreErrorKind::Credentials,
            format!("there are no credentials: set {credentials}"),
        ),
        _ if is_connection(error) => (
            StoreErrorKind::Unreachable,
            format!(
                "the store cannot be reached ({}): check the network, a proxy (HTTPS_PROXY) and the address ({})",
                innermost(error),
                kind.endpoint()
            ),
        ),
        _ => match code {
            Some(code) => (
                StoreErrorKind::Refused,
                format!("the store refuses, it says {code}"),
            ),
            None => (StoreErrorKind::Refused, innermost(error)),
        },
    }
}

/// The code of an answer in XML.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_code = (1..=64).contains(&code.len()) && code.chars().all(|c| c.is_ascii_alphanumeric());
    is_code.then_some(code)
}

/// Whether it was the machine that was asked who it is, since nothing else says so.
fn asks_metadata(text: &str) -> bool {
    ["169.254.", "metadata.google.internal", "fd00:ec2::254"]
        .iter()
        .any(|address| text.contains(address))
}

fn causes(error: &object_store::Error) -> Vec<&(dyn Error + 'static)> {
    let mut causes = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    causes
}

fn is_connection(error: &object_store::Error) -> bool {
    causes(error).iter().any(|cause| {
        cause.downcast_ref::<reqwest::Error>().is_some_and(|cause| {
            cause.is_connect() || cause.is_timeout() || cause.is_request() || cause.is_body()
        })
    })
}

/// The reason below all others, which has no addresses in it, and so no signatures.
fn innermost(error: &object_store::Error) -> String {
    let last = causes(error).last().map(ToString::to_string);
    let text = last.unwrap_or_default();
    // Not the body of an answer, which may repeat what was sent.
    let text = text.split(['<', '{']).next().unwrap_or_default();
    let text = text.trim_end_matches([' ', ':', '\n']);
    match text.is_empty() || text.contains("://") {
        true => "it gives no reason that can be shown".to_owned(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_without_what_was_sent() {
        let url = Url::parse("s3://b/k").unwrap();
        let denied = |body: &str| {
            let error = object_store::Error::PermissionDenied {
                path: "k".to_owned(),
                source: body.into(),
            };
            told(&url, &error)
        };
        let body = "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>";
        let error = denied(body);
        assert_eq!(error.kind(), StoreErrorKind::Access);
        let text = error.to_string();
        assert!(
            text.contains("s3://b/k: access is denied (status 403, it says SignatureDoesNotMatch)"),
            "{text}"
        );
        assert!(!text.contains("AKIASECRET"), "{text}");
        assert!(!denied("<Code>a b</Code>").to_string().contains("a b"));
    }
}
