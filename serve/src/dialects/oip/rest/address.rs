//! Which model a path means.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::Deserialize;

use super::refusal::Oip;
use crate::http::{Failure, Problem};

/// `MODEL`, or `MODEL/versions/VERSION`.
#[derive(Deserialize)]
pub(super) struct Address {
    pub(super) model: String,
    pub(super) version: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Failure<Oip>;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure<Oip>> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(address)) => Ok(address),
            Err(_) => Err(Problem::invalid("the path is not UTF-8").into()),
        }
    }
}
