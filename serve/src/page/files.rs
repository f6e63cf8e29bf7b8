//! The files of the pages, and what a browser may do with them.

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use utoipa::{
    PartialSchema,
    openapi::{ContentBuilder, HttpMethod, PathItem, ResponseBuilder, path::OperationBuilder},
};
use utoipa_axum::router::OpenApiRouter;

use crate::state::App;

/// Nothing but the pages' own files, and requests to this server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

#[derive(Clone, Copy)]
struct File {
    path: &'static str,
    /// What it is, for the description of the server.
    what: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const FILES: [File; 6] = [
    File {
        path: "/",
        what: "The page to try answers on.",
        content_type: "text/html; charset=utf-8",
        text: include_str!("index.html"),
    },
    File {
        path: "/page.css",
        what: "How pages look.",
        content_type: "text/css; charset=utf-8",
        text: include_str!("page.css"),
    },
    File {
        path: "/page.js",
        what: "What the page at `/` does.",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("page.js"),
    },
    File {
        path: "/docs",
        what: "The page to read and try this description on.",
        content_type: "text/html; charset=utf-8",
        text: include_str!("docs.html"),
    },
    File {
        path: "/docs.css",
        what: "How the page at `/docs` looks.",
        content_type: "text/css; charset=utf-8",
        text: include_str!("docs.css"),
    },
    File {
        path: "/docs.js",
        what: "What the page at `/docs` does.",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("docs.js"),
    },
];

pub(crate) fn routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::default();
    for file in FILES {
        router = router.route(file.path, get(async move |request| answer(file, &request)));
        let paths = &mut router.get_openapi_mut().paths.paths;
        paths.insert(file.path.to_owned(), described(file));
    }
    router
}

fn described(file: File) -> PathItem {
    let name = file.path.trim_start_matches('/').replace('.', "_");
    let name = if name.is_empty() { "page" } else { &name };
    let content = ContentBuilder::new().schema(Some(String::schema()));
    let good = ResponseBuilder::new()
        .description("The file.")
        .content(file.content_type, content.build());
    let same = ResponseBuilder::new().description("The browser has it already.");
    let operation = OperationBuilder::new()
        .operation_id(Some(format!("file_{name}")))
        .tag("Pages")
        .summary(Some(file.what))
        .response("200", good)
        .response("304", same);
    PathItem::new(HttpMethod::Get, operation)
}

fn answer(file: File, request: &Request) -> Response {
    // The version alone would be the same in two builds of it.
    let etag = format!("\"{:08x}\"", checksum(file.text.as_bytes()));
    let known = request.headers().get(IF_NONE_MATCH);
    let known = known.and_then(|tags| tags.to_str().ok());
    let mut response = match known.is_some_and(|tags| tags.contains(&etag)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.text.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    response
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}
