//! Bodies of JSON.

use std::marker::PhantomData;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::{
    problem::{Problem, ProblemKind},
    refused::{Refused, discard},
    reply::{Dialect, Failure},
};
use crate::state::App;

/// The body of a request in a dialect. What the client calls it does not matter: many send JSON without saying so.
pub(crate) struct Input<T, D> {
    pub(crate) value: T,
    dialect: PhantomData<D>,
}

impl<T: DeserializeOwned, D: Dialect> FromRequest<App> for Input<T, D> {
    type Rejection = Failure<D>;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure<D>> {
        let body = body(request, app).await?;
        Ok(Self {
            value: parse(&body)?,
            dialect: PhantomData,
        })
    }
}

/// The bytes of a body, as far as the limits permit.
pub(crate) async fn body(request: Request, app: &App) -> Result<Bytes, Problem> {
    if let Some(Refused(problem)) = request.extensions().get().cloned() {
        discard(request.into_body()).await;
        return Err(problem);
    }
    let limit = app.options().max_body_bytes;
    let collect = Limited::new(request.into_body(), limit).collect();
    let allowed = app.options().read_timeout;
    let Ok(collected) = tokio::time::timeout(allowed, collect).await else {
        let seconds = allowed.as_secs_f64();
        return Err(Problem::new(
            ProblemKind::SlowRequest,
            format!("the body did not come within {seconds} s"),
        ));
    };
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
            ProblemKind::TooLarge,
            format!("the body is larger than {limit} bytes: send fewer conversations at once"),
        )),
        Err(_) => Err(Problem::invalid("the body could not be read to its end")),
    }
}

/// A JSON value and nothing else.
///
/// # Errors
/// Names the field that is wrong.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::invalid("the request has no body: send JSON"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => Problem::invalid(format!("the body is wrong: {}", error.inner())),
            path => Problem::invalid(format!("`{path}`: {}", error.inner())),
        }
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::invalid(format!("the body is not one JSON value: {error}")))?;
    Ok(value)
}
