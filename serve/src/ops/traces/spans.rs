//! The spans of a request, which are made when it has ended: what it took is known then.

use std::{
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};

use super::client::Client;
use crate::{
    error::ServeError,
    ops::{
        context::{Interval, RequestContext},
        options::Otlp,
    },
};

const SERVICE: &str = "worldpm-ort";

/// Where the spans of requests go; cheap to clone.
#[derive(Clone)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The span of the caller that a request belongs to, and when the request came.
pub(crate) struct Caller {
    parent: Context,
    /// The same moment by both clocks: spans have times of day.
    came: (SystemTime, Instant),
}

/// How a request ended.
pub(crate) struct Ended<'a> {
    pub(crate) method: &'a str,
    pub(crate) status: u16,
    /// The kind of an error.
    pub(crate) kind: Option<&'static str>,
    pub(crate) client: Option<IpAddr>,
    /// Whether the fault is the server's.
    pub(crate) is_fault: bool,
}

impl Traces {
    /// `None` where no spans are wanted.
    ///
    /// # Errors
    /// [`ServeError::Option`] for an endpoint that is none.
    pub(crate) fn start(otlp: &Otlp) -> Result<Option<Self>, ServeError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_protocol(Protocol::HttpBinary);
        let wrong = |problem| ServeError::Option {
            option: "otlp",
            problem,
        };
        let exporter = match otlp {
            Otlp::Off => return Ok(None),
            Otlp::Environment => exporter,
            Otlp::Endpoint(url) => {
                let base = url.trim_end_matches('/');
                if !base.starts_with("http://") && !base.starts_with("https://") {
                    return Err(wrong(format!(
                        "{url:?} is not a URL of http or https, as in http://localhost:4318"
                    )));
                }
                exporter.with_endpoint(format!("{base}/v1/traces"))
            }
        };
        let exporter = exporter.build().map_err(|error| wrong(error.to_string()))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        let tracer = provider.tracer(SERVICE);
        Ok(Some(Self { provider, tracer }))
    }

    /// Notes whose request this is.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Caller {
        let propagator = TraceContextPropagator::new();
        Caller {
            parent: propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers)),
            came: (SystemTime::now(), Instant::now()),
        }
    }

    /// Makes the spans of a request.
    pub(crate) fn ended(&self, caller: &Caller, request: &RequestContext, ended: &Ended<'_>) {
        let (method, route, work) = (ended.method, request.route.name(), request.work());
        let builder = SpanBuilder::from_name(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_start_time(caller.came.0);
        let span = self.tracer.build_with_context(builder, &caller.parent);
        let context = Context::new().with_span(span);
        let span = context.span();
        if !span.is_recording() {
            return;
        }
        for (name, interval) in [
            ("tokenise", work.tokenising),
            ("queue", work.queued),
            ("compute", work.computing),
        ] {
            if let Some(Interval { from, to }) = interval {
                let builder = SpanBuilder::from_name(name).with_start_time(caller.time_of(from));
                let child = self.tracer.build_with_context(builder, &context);
                let child = Context::new().with_span(child);
                child.span().end_with_timestamp(caller.time_of(to));
            }
        }
        span.set_attributes([
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(ended.status)),
            KeyValue::new("worldpm.request_id", request.id.as_str().to_owned()),
        ]);
        if work.conversations > 0 {
            span.set_attributes([
                KeyValue::new("worldpm.conversations", work.conversations as i64),
                KeyValue::new("worldpm.tokens", work.tokens as i64),
            ]);
        }
        if let Some(client) = ended.client {
            span.set_attribute(KeyValue::new("client.address", client.to_string()));
        }
        if let Some(kind) = ended.kind {
            span.set_attribute(KeyValue::new("error.type", kind));
        }
        // What is the client's fault is no error of the server's span.
        if ended.is_fault {
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// Sends what is left, and ends.
    pub(crate) fn shut_down(&self, allowed: Duration) -> OTelSdkResult {
        self.provider.shutdown_with_timeout(allowed)
    }
}

impl Caller {
    fn time_of(&self, at: Instant) -> SystemTime {
        let (time, came) = self.came;
        match at.checked_duration_since(came) {
            Some(later) => time + later,
            None => time - came.duration_since(at),
        }
    }
}

/// What the environment says of this service, and its name where it does not say it.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found
        .get_ref(&"service.name".into())
        .map(|name| name.as_str());
    let mut resource = Resource::builder();
    if name.is_none_or(|name| name.starts_with("unknown_service")) {
        resource = resource.with_service_name(SERVICE);
    }
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    resource.with_attribute(version).build()
}
