//! What every request passes before it comes to its dialect.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use axum::{
    Router,
    extract::{FromRequestParts, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{StatusCode, request::Parts};
use tokio::sync::Semaphore;

use super::{
    keys::{ApiKey, Found, Keys, shown},
    options::SecurityOptions,
    origins::{Origins, permit, permit_methods},
    public::is_public,
    rate::RateLimit,
    refusal::{is_grpc, refuse},
};
use crate::{
    error::ServeError,
    http::{Client, Problem, ProblemKind, Refused, discard},
    state::App,
};

/// Keys, shares and limits; what panics behind it is an error of one request.
pub(crate) struct Gate {
    keys: RwLock<Arc<Keys>>,
    given: Vec<ApiKey>,
    file: Option<PathBuf>,
    pub(super) metrics_key: bool,
    rate: Option<RateLimit>,
    slots: Semaphore,
    origins: Origins,
}

/// Whether whoever asks may change the server: by a Unix socket, or with a key for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trusted(pub(crate) bool);

impl<S: Sync> FromRequestParts<S> for Trusted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}

impl Gate {
    /// # Errors
    /// [`ServeError::Option`] for keys, origins or limits that cannot be.
    pub(crate) fn new(options: &SecurityOptions) -> Result<Self, ServeError> {
        let keys = Keys::load(&options.api_keys, options.api_key_file.as_deref())?;
        let rate = options.rate_limit.map(|rate| {
            if !(rate.is_finite() && rate >= 1e-3) {
                return Err(ServeError::Option {
                    option: "rate-limit",
                    problem: format!("{rate} requests a second cannot be: give 0.001 or more"),
                });
            }
            // Of a fast client, those of a second; of a slow one, one.
            let burst = options.rate_burst.unwrap_or(rate.ceil() as u32);
            Ok(RateLimit::new(rate, burst))
        });
        let slots = options.max_concurrent_requests.min(Semaphore::MAX_PERMITS);
        Ok(Self {
            keys: RwLock::new(Arc::new(keys)),
            given: options.api_keys.clone(),
            file: options.api_key_file.clone(),
            metrics_key: options.metrics_key,
            rate: rate.transpose()?,
            slots: Semaphore::new(slots),
            origins: Origins::new(&options.cors_origins)?,
        })
    }

    pub(crate) fn has_keys(&self) -> bool {
        !self.keys().is_empty()
    }

    pub(super) fn has_rate(&self) -> bool {
        self.rate.is_some()
    }

    /// Reads the file of keys again. One that is bad changes nothing, and is logged.
    pub(crate) fn reload(&self) {
        if self.file.is_none() {
            return;
        }
        match Keys::load(&self.given, self.file.as_deref()) {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                tracing::info!("the keys of clients were read again");
            }
            Err(error) => tracing::error!("the keys of clients stay as they were: {error}"),
        }
    }

    /// The routes behind the gate.
    pub(crate) fn before(self: Arc<Self>, routes: Router<App>) -> Router<App> {
        routes.layer(from_fn_with_state(self, pass))
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who asks. Over a Unix socket no key is needed, since the file system says who may; one that is wrong is refused.
    fn identify(&self, request: &Request) -> Result<(Client, Trusted), Problem> {
        let client: Client = request.extensions().get().copied().unwrap_or_default();
        let is_local = client == Client::Local;
        let keys = self.keys();
        if keys.is_empty() {
            return Ok((client, Trusted(is_local)));
        }
        match shown(request.headers()) {
            Some(shown) => match keys.find(shown) {
                Some(Found { index, is_admin }) => {
                    Ok((Client::Key(index), Trusted(is_admin || is_local)))
                }
                None => Err(unauthorized("the key of the request is not known here")),
            },
            None if is_local => Ok((client, Trusted(true))),
            None => Err(unauthorized(
                "a key is needed: send `Authorization: Bearer KEY` or `x-api-key: KEY`",
            )),
        }
    }

    async fn answer(&self, mut request: Request, next: Next) -> Response {
        let grpc = is_grpc(request.headers());
        if is_public(request.method(), request.uri().path(), self.metrics_key) {
            return run(request, next, grpc).await;
        }
        let (client, trusted) = match self.identify(&request) {
            Ok(identified) => identified,
            Err(problem) => {
                discard(request.into_body()).await;
                return refuse(&problem, grpc);
            }
        };
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(trusted);
        let rated = self.rate.as_ref();
        if rated.is_some_and(|rate| !rate.admits(client, Instant::now())) {
            let problem = Problem::new(
                ProblemKind::RateLimited,
                "there are more requests of this client than it may send in a second",
            );
            return refuse_in_dialect(problem, request, next, grpc).await;
        }
        match self.slots.try_acquire() {
            Ok(_slot) => run(request, next, grpc).await,
            Err(_) => {
                let problem = Problem::new(
                    ProblemKind::Overloaded,
                    "as many requests are answered as may be; try again later",
                );
                refuse_in_dialect(problem, request, next, grpc).await
            }
        }
    }
}

fn unauthorized(message: &str) -> Problem {
    Problem::new(ProblemKind::Unauthorized, message)
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let Some(origin) = gate.origins.of(request.headers()) else {
        return gate.answer(request, next).await;
    };
    let mut response = if Origins::is_preflight(request.method(), request.headers()) {
        let mut response = StatusCode::NO_CONTENT.into_response();
        permit_methods(response.headers_mut());
        response
    } else {
        gate.answer(request, next).await
    };
    permit(response.headers_mut(), origin);
    response
}

/// A request with a body is read by its dialect, which finds the refusal in place of the body. Others are refused here.
async fn refuse_in_dialect(
    problem: Problem,
    mut request: Request,
    next: Next,
    grpc: bool,
) -> Response {
    if grpc || request.method() != http::Method::POST {
        discard(request.into_body()).await;
        return refuse(&problem, grpc);
    }
    request.extensions_mut().insert(Refused(problem));
    run(request, next, grpc).await
}

async fn run(request: Request, next: Next, grpc: bool) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    answer.await.unwrap_or_else(|_| {
        tracing::error!("the answer to a request panicked");
        let problem = Problem::new(
            ProblemKind::Internal,
            "an error of the server; its log says more",
        );
        refuse(&problem, grpc)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::{body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;
    use crate::{
        models::{ModelOptions, Models},
        options::ServeOptions,
    };

    fn routes() -> Router {
        let model = ModelOptions::new("pm", "nowhere", Default::default());
        let app = App::new(ServeOptions::default(), Models::new(vec![model]).unwrap()).unwrap();
        let gate = Gate::new(&SecurityOptions::default()).unwrap();
        let routes = Router::new()
            .route(
                "/panics",
                get(async || -> &'static str { panic!("inside") }),
            )
            .route("/works", get(async || "works"));
        Arc::new(gate).before(routes).with_state(app)
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_one_request() {
        let routes = routes();
        for (path, content_type, status, grpc) in [
            ("/panics", "application/json", 500, None),
            ("/panics", "application/grpc", 200, Some("13")),
            ("/works", "application/json", 200, None),
        ] {
            let request = Request::get(path).header("content-type", content_type);
            let request = request.body(Body::empty()).unwrap();
            let reply = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(reply.status().as_u16(), status, "{path}");
            let found = reply.headers().get("grpc-status");
            assert_eq!(found.map(|status| status.to_str().unwrap()), grpc);
            let body = axum::body::to_bytes(reply.into_body(), 1000).await.unwrap();
            assert!(!String::from_utf8_lossy(&body).contains("inside"));
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (change, part) in [
            (
                (|options| options.rate_limit = Some(0.0)) as fn(&mut SecurityOptions),
                "rate-limit",
            ),
            (|options| options.rate_limit = Some(f64::NAN), "rate-limit"),
            (
                |options| options.cors_origins = vec!["https://a/b".into()],
                "cors-origin",
            ),
            (
                |options| options.api_keys = vec![ApiKey::new("environment", "")],
                "`environment` is empty",
            ),
            (
                |options| options.api_key_file = Some("/nowhere/keys".into()),
                "api-key-file",
            ),
        ] {
            let mut options = SecurityOptions::default();
            change(&mut options);
            let error = Gate::new(&options).map(drop).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
