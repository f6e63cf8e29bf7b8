//! What everyone may ask.

use http::Method;

/// Pages and probes without scores: balancers and browsers come to them without a key.
const PATHS: &[&str] = &[
    "/",
    "/page.css",
    "/page.js",
    "/docs",
    "/docs.css",
    "/docs.js",
    "/live",
    "/ready",
    "/startup",
    "/health",
    "/v2/health/live",
    "/v2/health/ready",
];

/// The same of gRPC.
const CALLS: &[&str] = &[
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ModelReady",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

/// Whether a request needs neither key nor share: a probe, or a page.
pub(super) fn is_public(method: &Method, path: &str, metrics_need_a_key: bool) -> bool {
    match *method {
        Method::GET | Method::HEAD => {
            PATHS.contains(&path)
                || (path == "/metrics" && !metrics_need_a_key)
                || (path.starts_with("/v2/models/") && path.ends_with("/ready"))
        }
        Method::POST => CALLS.contains(&path),
        _ => false,
    }
}
