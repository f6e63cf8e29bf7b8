//! One request to one server.

use std::time::Duration;

use serde_json::Value;
use ureq::{
    Agent,
    http::{Uri, header::AUTHORIZATION},
};

use super::{error::RemoteError, options::RemoteOptions};
use crate::http_agent;

/// The largest reply that is read, for each record of a request: a score for each of many steps.
const REPLY_BYTES: u64 = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Servers, and how they are asked.
pub(super) struct Servers {
    agent: Agent,
    /// What is asked, and how it is shown.
    addresses: Vec<(String, String)>,
    authorization: Option<String>,
}

/// What came of a request.
pub(super) enum Reply {
    Lines(String),
    /// The request is larger than the server takes.
    TooLarge(String),
    /// It may be sent again, after so long where the server says so.
    Later {
        problem: String,
        wait: Option<Duration>,
    },
    /// It will never be answered.
    Refused {
        status: u16,
        message: String,
    },
}

impl Servers {
    /// # Errors
    /// [`RemoteError::Address`]
    pub(super) fn new(options: &RemoteOptions) -> Result<Self, RemoteError> {
        let agent = http_agent::builder()
            .max_idle_connections_per_host(options.requests.get())
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(options.timeout)
            .build()
            .new_agent();
        let bad = |endpoint: &str, problem| RemoteError::Address {
            endpoint: endpoint.to_owned(),
            problem,
        };
        let mut addresses = Vec::new();
        for endpoint in &options.endpoints {
            let trimmed = endpoint.trim().trim_end_matches('/');
            let uri: Option<Uri> = trimmed.parse().ok();
            let scheme = uri.as_ref().and_then(Uri::scheme_str);
            if !matches!(scheme, Some("http" | "https")) {
                return Err(bad(endpoint, "it begins with neither http:// nor https://"));
            }
            if trimmed.contains(['?', '#']) {
                return Err(bad(
                    endpoint,
                    "it has a query or a fragment: leave that out",
                ));
            }
            if uri.and_then(|uri| uri.host().map(str::is_empty)) != Some(false) {
                return Err(bad(endpoint, "it has no host"));
            }
            let query = match &options.model {
                Some(model) => format!("?model={}", encoded(model)),
                None => String::new(),
            };
            addresses.push((format!("{trimmed}/v1/score{query}"), trimmed.to_owned()));
        }
        if addresses.is_empty() {
            return Err(bad("", "there is none"));
        }
        Ok(Self {
            agent,
            addresses,
            authorization: options.api_key.as_ref().map(|key| format!("Bearer {key}")),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    pub(super) fn name(&self, server: usize) -> String {
        self.addresses[server].1.clone()
    }

    /// Sends a body of lines to a server.
    pub(super) fn post(&self, server: usize, body: &[u8], records: usize) -> Reply {
        let mut request = self
            .agent
            .post(&self.addresses[server].0)
            .content_type("application/x-ndjson");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let later = |problem: String| Reply::Later {
            problem,
            wait: None,
        };
        let mut reply = match request.send(body) {
            Ok(reply) => reply,
            Err(error) => return later(error.to_string()),
        };
        let status = reply.status().as_u16();
        let wait = reply.headers().get("retry-after");
        let wait = wait.and_then(|seconds| seconds.to_str().ok()?.trim().parse().ok());
        let limit = REPLY_BYTES.saturating_mul(records as u64);
        let text = match reply.body_mut().with_config().limit(limit).read_to_string() {
            Ok(text) => text,
            Err(error) => return later(format!("its reply broke off: {error}")),
        };
        match status {
            200 => Reply::Lines(text),
            413 => Reply::TooLarge(message(&text)),
            408 | 425 | 429 | 500.. => Reply::Later {
                problem: format!("status {status}: {}", message(&text)),
                wait: wait.map(Duration::from_secs),
            },
            _ => Reply::Refused {
                status,
                message: message(&text),
            },
        }
    }
}

/// What a reply says is wrong.
fn message(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let error = &value["error"];
    let message = error["message"].as_str().or(error.as_str());
    let message = message.unwrap_or(text).trim();
    message.chars().take(500).collect()
}

/// A name as a part of a query.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let bytes = name.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    bytes.collect()
}
