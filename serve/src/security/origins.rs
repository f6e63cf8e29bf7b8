//! Which pages may read replies.

use http::{
    HeaderMap, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        ORIGIN, VARY,
    },
};

use crate::error::ServeError;

/// Origins that are let through; none by default.
pub(super) struct Origins(Vec<HeaderValue>);

impl Origins {
    /// # Errors
    /// [`ServeError::Option`] for what no browser sends as an origin.
    pub(super) fn new(origins: &[String]) -> Result<Self, ServeError> {
        let values = origins.iter().map(|origin| {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            let fits = origin == "*" || !(host.is_empty() || host.contains('/'));
            let value = HeaderValue::from_str(origin).ok().filter(|_| fits);
            value.ok_or_else(|| ServeError::Option {
                option: "cors-origin",
                problem: format!("{origin:?} is not an origin: write one as in https://host:port, without a path, or *"),
            })
        });
        values.collect::<Result<_, _>>().map(Self)
    }

    /// The origin of a request, where it may read replies.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let permits = |permitted: &&HeaderValue| *permitted == "*" || *permitted == origin;
        self.0.iter().find(permits).cloned()
    }

    /// Whether a browser asks if it may ask.
    pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }
}

/// Marks a reply as one that the page of an origin may read.
pub(super) fn permit(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("origin"));
    let exposed = "retry-after, x-compute-time, x-compute-tokens, x-score-activation";
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(exposed),
    );
}

/// What a page may ask, and how long a browser may keep that in mind, in seconds.
pub(super) fn permit_methods(headers: &mut HeaderMap) {
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, x-api-key, traceparent, tracestate",
        ),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
