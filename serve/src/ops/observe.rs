//! What is around every request: its id, its counters, its line in the log and its spans.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::Method;
use tracing::{Instrument, Span};

use super::{
    context::RequestContext,
    log::{self, Outcome},
    request_id::{RequestId, X_REQUEST_ID},
    traces::{Caller, Ended},
};
use crate::{
    http::{Client, ProblemKind},
    state::App,
};

/// The status of a request whose client left, as in nginx.
const LEFT: u16 = 499;
/// That of one whose handler panicked.
const PANICKED: u16 = 500;

/// Goes around all routes, as the outermost layer.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let observed = Observed::begin(app, &request);
    let work = Arc::clone(&observed.context).scope(next.run(request));
    let mut response = work.instrument(observed.span.clone()).await;
    let id = observed.context.id.header();
    response.headers_mut().insert(X_REQUEST_ID, id);
    observed.answered(&response);
    response
}

/// A request that is under way. One that is dropped was left by its client.
struct Observed {
    app: App,
    context: Arc<RequestContext>,
    span: Span,
    method: Method,
    client: Client,
    caller: Option<Caller>,
    is_ended: bool,
}

impl Observed {
    fn begin(app: App, request: &Request) -> Self {
        let instruments = app.instruments();
        let extensions = request.extensions();
        let pattern = extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let metrics = &instruments.metrics;
        metrics.begun();
        let id = RequestId::of(request.headers());
        // At the level of errors, so that no filter takes the id from what is logged.
        let span = tracing::error_span!("request", request_id = id.as_str());
        let traces = instruments.traces.as_ref();
        let caller = traces.map(|traces| traces.caller(request.headers()));
        let context = RequestContext::new(id, metrics.route(pattern), metrics.clone());
        Self {
            context: Arc::new(context),
            span,
            method: request.method().clone(),
            client: extensions.get().copied().unwrap_or_default(),
            caller,
            is_ended: false,
            app,
        }
    }

    fn answered(mut self, response: &Response) {
        let kind = response.extensions().get::<ProblemKind>().copied();
        self.end(response.status().as_u16(), kind);
    }

    fn end(&mut self, status: u16, kind: Option<ProblemKind>) {
        self.is_ended = true;
        let (instruments, context) = (self.app.instruments(), &self.context);
        let name = kind.map(ProblemKind::as_str);
        let outcome = Outcome::of(status, kind);
        context
            .route
            .answered(status, name, context.begun.elapsed());
        let work = context.work();
        instruments.metrics.ended(work.conversations, work.tokens);
        let method = self.method.as_str();
        self.span.in_scope(|| {
            let answer = (method, status);
            log::line(
                &instruments.throttle,
                context,
                outcome,
                answer,
                kind,
                self.client,
            );
        });
        if let Some((traces, caller)) = instruments.traces.as_ref().zip(self.caller.as_ref()) {
            let ended = Ended {
                method,
                status,
                kind: name,
                client: match self.client {
                    Client::Address(address) => Some(address),
                    Client::Local | Client::Key(_) => None,
                },
                is_fault: matches!(outcome, Outcome::Fault),
            };
            traces.ended(caller, context, &ended);
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        match std::thread::panicking() {
            true => self.end(PANICKED, Some(ProblemKind::Internal)),
            false => self.end(LEFT, Some(ProblemKind::Cancelled)),
        }
    }
}
