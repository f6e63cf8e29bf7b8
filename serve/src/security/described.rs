//! The gate, in the description of the server: which paths ask for a key, and how it refuses.

use http::Method;
use utoipa::openapi::{
    OpenApi, RefOr,
    path::Operation,
    security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};

use super::{
    gate::Gate,
    public::is_public,
    refusal::{Refused, body},
};
use crate::{
    http::{Problem, ProblemKind, refusals},
    openapi::or,
};

const BEARER: &str = "bearer";
const HEADER: &str = "header";

impl Gate {
    /// Says of each operation what it has to pass.
    pub(crate) fn describe(&self, api: &mut OpenApi) {
        for (path, item) in &mut api.paths.paths {
            let methods = [(Method::GET, &mut item.get), (Method::POST, &mut item.post)];
            for (method, operation) in methods {
                let Some(operation) = operation else { continue };
                if !is_public(&method, path, self.metrics_key) {
                    self.describe_operation(operation);
                }
            }
        }
        if self.has_keys() {
            let bearer = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("A key of the server, as `Authorization: Bearer KEY`."));
            let header = ApiKeyValue::with_description("x-api-key", "The same key.");
            let components = api.components.get_or_insert_default();
            components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
            components.add_security_scheme(HEADER, SecurityScheme::ApiKey(ApiKey::Header(header)));
        }
    }

    fn describe_operation(&self, operation: &mut Operation) {
        let mut refused = Vec::new();
        if self.has_keys() {
            let no_scopes: [&str; 0] = [];
            operation.security = Some(vec![
                SecurityRequirement::new(BEARER, no_scopes),
                SecurityRequirement::new(HEADER, no_scopes),
            ]);
            refused.push((
                ProblemKind::Unauthorized,
                "There is no key in the request, or a wrong one.",
                "a key is needed: send `Authorization: Bearer KEY` or `x-api-key: KEY`",
            ));
        }
        // A request with a body is refused by its dialect, which says so itself, or as gRPC does.
        if operation.request_body.is_none() {
            refused.push((
                ProblemKind::Overloaded,
                "As many requests are answered as may be.",
                "as many requests are answered as may be; try again later",
            ));
            if self.has_rate() {
                refused.push((
                    ProblemKind::RateLimited,
                    "The client sends more requests than it may.",
                    "there are more requests of this client than it may send in a second",
                ));
            }
        } else if is_call(operation) {
            return;
        }
        for (kind, when, message) in refused {
            let response = refusals::<Refused>(vec![(Problem::new(kind, message), when)], body);
            or(operation, kind.status().as_str().to_owned(), response);
        }
    }
}

fn is_call(operation: &Operation) -> bool {
    match &operation.request_body {
        Some(RefOr::T(body)) => body.content.contains_key("application/grpc"),
        _ => false,
    }
}
