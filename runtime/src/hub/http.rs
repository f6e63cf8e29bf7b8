//! Requests to a hub: redirects, the token, waits and repeats.

mod failure;

use std::{
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::{
    Agent, Body,
    http::{HeaderMap, HeaderValue, Method, Request, Uri},
};

use super::{
    HubError, HubOptions, Repository,
    address::{resolve, same_origin, shown, split_login},
    fault::{Fault, Stop, describe},
    options::LONGEST_TIMEOUT,
    pace::Pace,
    response::{Response, header, next_link},
};
use crate::http_agent;

/// A hub redirects to the new name of a repository, and from there to where the bytes are.
const MAX_REDIRECTS: usize = 10;
/// Bytes read at a time.
pub(super) const BLOCK: usize = 256 << 10;
/// All but the characters that RFC 3986 leaves free.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Asks one hub for one repository.
pub(super) struct Client<'a> {
    agent: Agent,
    pub(super) options: &'a HubOptions,
    pub(super) repository: &'a Repository,
    pub(super) stop: Stop,
    /// The hub's address as it is asked and shown.
    endpoint: String,
    origin: Uri,
    /// What proves to the hub who asks.
    authorization: Option<HeaderValue>,
    /// Whether the hub ever answered. Until it did, no name or connection is tried twice.
    reached: AtomicBool,
}

impl<'a> Client<'a> {
    pub(super) fn new(
        options: &'a HubOptions,
        repository: &'a Repository,
    ) -> Result<Self, HubError> {
        let agent = http_agent::builder()
            .accept_encoding("identity")
            .max_idle_connections_per_host(options.workers)
            .build()
            .new_agent();
        let setting = |problem| HubError::Setting {
            setting: "HF_ENDPOINT".to_owned(),
            problem,
        };
        let (endpoint, login) = split_login(&options.endpoint);
        let origin: Option<Uri> = endpoint.parse().ok();
        let origin = origin
            .filter(|uri| uri.host().is_some_and(|host| !host.is_empty()))
            .ok_or_else(|| setting(format!("`{}` is not an address", shown(&options.endpoint))))?;
        let authorization = login.or_else(|| Some(options.token.as_ref()?.authorization()));
        let secret = |text: String| {
            let mut value = HeaderValue::try_from(text)
                .map_err(|_| setting("its name and password cannot be sent".to_owned()))?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self {
            agent,
            options,
            repository,
            stop: Stop::default(),
            endpoint,
            origin,
            authorization: authorization.map(secret).transpose()?,
            reached: AtomicBool::new(false),
        })
    }

    /// Address of the repository's description at its revision.
    pub(super) fn description_url(&self) -> String {
        format!(
            "{}/api/{}/{}/revision/{}",
            self.endpoint,
            self.repository.kind().plural(),
            self.repository.id(),
            encode(self.repository.revision())
        )
    }

    /// Address of the list of a commit's files.
    pub(super) fn tree_url(&self, commit: &str) -> String {
        format!(
            "{}/api/{}/{}/tree/{commit}?recursive=true",
            self.endpoint,
            self.repository.kind().plural(),
            self.repository.id()
        )
    }

    /// Address of a file at a commit.
    pub(super) fn file_url(&self, commit: &str, file: &str) -> String {
        format!(
            "{}/{}{}/resolve/{commit}/{}",
            self.endpoint,
            self.repository.kind().prefix(),
            self.repository.id(),
            // Folders stay folders, as in `huggingface_hub`.
            file.split('/').map(encode).collect::<Vec<_>>().join("/")
        )
    }

    /// Repeats `attempt` while it fails in passing, with growing waits. Attempts that bring something do not count.
    pub(super) fn repeat<T>(
        &self,
        url: &str,
        mut attempt: impl FnMut() -> Result<T, Fault>,
    ) -> Result<T, HubError> {
        let mut failed = 0;
        loop {
            self.stop.check()?;
            let passing = match attempt() {
                Ok(value) => return Ok(value),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(passing)) => passing,
            };
            failed = if passing.progress { 1 } else { failed + 1 };
            let too_long = passing.wait.filter(|w| *w > self.options.longest_wait);
            if failed >= self.options.attempts || too_long.is_some() {
                let url = url.to_owned();
                return Err(match passing.limited {
                    true => HubError::RateLimited {
                        url,
                        attempts: failed,
                        wait: passing.wait.map(|wait| wait.as_secs()),
                    },
                    false => HubError::Unreachable {
                        url,
                        attempts: failed,
                        problem: passing.problem,
                    },
                });
            }
            let factor = 2_u32.saturating_pow(failed - 1);
            let grown = self.options.backoff.saturating_mul(factor);
            self.stop
                .wait(passing.wait.unwrap_or(grown).min(self.options.longest_wait))?;
        }
    }

    /// How long bytes of a file may be waited for.
    pub(super) fn timeout(&self) -> Duration {
        self.options.timeout.min(LONGEST_TIMEOUT)
    }

    fn etag_timeout(&self) -> Duration {
        self.options.etag_timeout.min(LONGEST_TIMEOUT)
    }

    /// One request for a file's bytes, with its redirects. `what` says in an error what is missing.
    pub(super) fn get(&self, url: &str, from: u64, what: &str) -> Result<Response, Fault> {
        let range = (from > 0).then(|| format!("bytes={from}-"));
        self.follow(
            &Method::GET,
            url,
            range.as_deref(),
            self.timeout(),
            what,
            |_| false,
        )
    }

    /// The whole of a small answer, at most `limit` bytes.
    pub(super) fn get_small(&self, url: &str, limit: u64, what: &str) -> Result<Vec<u8>, Fault> {
        Ok(self.get_page(url, limit, what)?.0)
    }

    /// [`Self::get_small`], and the address of the page after it, where there is one on the hub itself.
    pub(super) fn get_page(
        &self,
        url: &str,
        limit: u64,
        what: &str,
    ) -> Result<(Vec<u8>, Option<String>), Fault> {
        let timeout = self.etag_timeout();
        let response = self.follow(&Method::GET, url, None, timeout, what, |_| false)?;
        let links = response.headers.get_all("link").iter();
        let next = links
            .filter_map(|value| next_link(value.to_str().ok()?))
            .find_map(|link| resolve(&url.parse().ok()?, link))
            .filter(|uri| same_origin(uri, &self.origin))
            .map(|uri| uri.to_string());
        let mut body = response.body.into_reader();
        let mut pace = Pace::small(timeout);
        let (mut whole, mut block) = (Vec::new(), vec![0; BLOCK]);
        loop {
            self.stop.check()?;
            let start = Instant::now();
            let read = body
                .read(&mut block)
                .map_err(|error| Fault::passing(describe(&error, timeout)))?;
            let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Ok((whole, next));
            };
            whole.extend_from_slice(bytes);
            if whole.len() as u64 > limit {
                let problem = format!("the answer has more than {limit} bytes");
                let url = url.to_owned();
                return Err(HubError::Answer { url, problem }.into());
            }
            pace.took(start, read).map_err(Fault::passing)?;
        }
    }

    /// A file's description. It ends at the redirect that leads to the bytes, where the description is. A server that
    /// does not describe files gives an error's status and no headers.
    pub(super) fn head(&self, url: &str, what: &str) -> Result<Response, Fault> {
        let described = |headers: &HeaderMap| headers.contains_key("x-linked-etag");
        self.follow(
            &Method::HEAD,
            url,
            None,
            self.etag_timeout(),
            what,
            described,
        )
    }

    fn follow(
        &self,
        method: &Method,
        url: &str,
        range: Option<&str>,
        timeout: Duration,
        what: &str,
        is_enough: impl Fn(&HeaderMap) -> bool,
    ) -> Result<Response, Fault> {
        let answer = |problem: String| HubError::Answer {
            url: url.to_owned(),
            problem,
        };
        let mut at: Uri = url
            .parse()
            .map_err(|_| answer("is not an address".to_owned()))?;
        for _ in 0..=MAX_REDIRECTS {
            let (parts, body) = self.send(method, &at, range, timeout, url)?.into_parts();
            self.reached.store(true, Ordering::Relaxed);
            let status = parts.status.as_u16();
            let next = header(&parts.headers, "location")
                .filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308));
            match next {
                Some(next) if !is_enough(&parts.headers) => {
                    at = resolve(&at, next).ok_or_else(|| {
                        let next = shown(next);
                        answer(format!("redirects to `{next}`, which is not an address"))
                    })?;
                }
                // 416: there are no bytes after those that are there.
                _ if next.is_some() || parts.status.is_success() || status == 416 => {
                    return Ok(Response {
                        status,
                        headers: parts.headers,
                        body,
                    });
                }
                // The storage behind a hub may allow GET and nothing else, and so may a simple hub.
                _ if *method == Method::HEAD
                    && (matches!(status, 400 | 405 | 501)
                        || (matches!(status, 401..=404) && !same_origin(&at, &self.origin))) =>
                {
                    return Ok(Response {
                        status,
                        headers: HeaderMap::new(),
                        body,
                    });
                }
                _ if !same_origin(&at, &self.origin) => {
                    // Not the hub but where it keeps the bytes; the way there may have expired.
                    let host = at.host().unwrap_or_default();
                    return Err(Fault::passing(format!(
                        "{host} answers with status {status}"
                    )));
                }
                _ => return Err(self.refused(status, &parts.headers, url, what)),
            }
        }
        Err(answer(format!("redirects more than {MAX_REDIRECTS} times")).into())
    }

    fn send(
        &self,
        method: &Method,
        at: &Uri,
        range: Option<&str>,
        timeout: Duration,
        url: &str,
    ) -> Result<ureq::http::Response<Body>, Fault> {
        let mut request = Request::builder().method(method).uri(at);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        if let Some(authorization) = &self.authorization
            && same_origin(at, &self.origin)
        {
            request = request.header("authorization", authorization);
        }
        let answer = |problem: String| HubError::Answer {
            url: url.to_owned(),
            problem,
        };
        let request = request.body(()).map_err(|e| answer(e.to_string()))?;
        let limit = Some(timeout);
        let request = self.agent.configure_request(request);
        let request = request
            .timeout_resolve(limit)
            .timeout_connect(limit)
            .timeout_per_read(limit)
            .timeout_per_write(limit)
            // Or a head that comes byte by byte would never end.
            .timeout_recv_response(Some(timeout.saturating_mul(2)))
            .build();
        self.agent
            .run(request)
            .map_err(|error| self.no_answer(error, url, timeout))
    }
}

/// Percent-encodes a revision or a file name as one part of a path.
fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn encoding() {
        assert_eq!(encode("refs/pr/3"), "refs%2Fpr%2F3");
        assert_eq!(
            encode("model-00001-of-2.safetensors"),
            "model-00001-of-2.safetensors"
        );
    }
}
