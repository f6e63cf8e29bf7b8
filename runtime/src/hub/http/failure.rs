//! What it means that a hub does not answer, or not with what was asked for.

use std::{io, sync::atomic::Ordering, time::Duration};

use ureq::{Timeout, http::HeaderMap};

use super::{
    super::{
        HubError,
        fault::{Fault, Passing, describe, silence},
        response::{asked_wait, header},
    },
    Client,
};

impl Client<'_> {
    /// A connection that does not come about, or is lost before an answer. Until the hub has answered once, the
    /// reason is likely to stay.
    pub(super) fn no_answer(&self, error: ureq::Error, url: &str, timeout: Duration) -> Fault {
        let (problem, may_pass) = match error {
            ureq::Error::Io(e) => (
                describe(&e, timeout),
                e.kind() != io::ErrorKind::InvalidData,
            ),
            ureq::Error::Timeout(Timeout::RecvResponse) => (
                format!(
                    "the head of the answer was not whole after {} seconds",
                    timeout.saturating_mul(2).as_secs_f32()
                ),
                true,
            ),
            ureq::Error::Timeout(_) => (silence(timeout), true),
            // Its text would show the address.
            ureq::Error::BadUri(_) => ("the address cannot be asked".to_owned(), false),
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => (error.to_string(), true),
            other => (other.to_string(), false),
        };
        if may_pass && self.reached.load(Ordering::Relaxed) {
            return Fault::passing(problem);
        }
        Fault::Final(HubError::Unreachable {
            url: url.to_owned(),
            attempts: 1,
            problem,
        })
    }

    /// What a status other than success means.
    pub(super) fn refused(&self, status: u16, headers: &HeaderMap, url: &str, what: &str) -> Fault {
        let message = header(headers, "x-error-message").map(str::to_owned);
        let code = header(headers, "x-error-code");
        match status {
            // Also the answer to a stranger who asks for a repository that does not exist.
            401 | 403 => Fault::Final(HubError::Access {
                repository: self.repository.to_string(),
                status,
                message,
                advice: self.advice(code == Some("GatedRepo")),
            }),
            404 => Fault::Final(HubError::NotFound {
                endpoint: self.endpoint.clone(),
                what: match code {
                    Some("RepoNotFound") => format!("repository {}", self.repository.id()),
                    Some("RevisionNotFound") => format!(
                        "revision `{}` of {}",
                        self.repository.revision(),
                        self.repository.id()
                    ),
                    _ => what.to_owned(),
                },
                message,
            }),
            408 | 429 | 500..=599 => Fault::Passing(Passing {
                problem: match message {
                    Some(message) => format!("the hub answers with status {status}: {message}"),
                    None => format!("the hub answers with status {status}"),
                },
                wait: asked_wait(headers),
                limited: status == 429,
                progress: false,
            }),
            _ => Fault::Final(HubError::Answer {
                url: url.to_owned(),
                problem: match message {
                    Some(message) => format!("the answer has status {status}: {message}"),
                    None => format!("the answer has status {status}"),
                },
            }),
        }
    }

    fn advice(&self, gated: bool) -> String {
        let kind = self.repository.kind().prefix();
        let page = format!("{}/{kind}{}", self.endpoint, self.repository.id());
        let terms = match gated {
            true => format!("It is gated: accept its terms at {page}, then"),
            false => "It is private or gated, or there is no such repository:".to_owned(),
        };
        match &self.options.token {
            None => format!(
                "{terms} give a token that may read it, in HF_TOKEN, or log in with `hf auth login`"
            ),
            Some(token) => format!(
                "{terms} check that the token from {} is valid and may read it",
                token.from()
            ),
        }
    }
}
