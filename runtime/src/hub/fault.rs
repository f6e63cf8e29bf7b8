//! What ends one attempt at a request, in words too, and what ends them all.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use super::HubError;

/// Why one attempt failed.
pub(super) enum Fault {
    /// Trying again would not help.
    Final(HubError),
    /// It may work the next time.
    Passing(Passing),
}

/// A failure that may not come again.
pub(super) struct Passing {
    /// What happened.
    pub(super) problem: String,
    /// The wait that the hub asks for.
    pub(super) wait: Option<Duration>,
    /// Whether the hub said that there are too many requests.
    pub(super) limited: bool,
    /// Whether bytes arrived that the next attempt need not fetch again.
    pub(super) progress: bool,
}

impl Fault {
    pub(super) fn passing(problem: impl Into<String>) -> Self {
        Self::Passing(Passing {
            problem: problem.into(),
            wait: None,
            limited: false,
            progress: false,
        })
    }
}

impl From<HubError> for Fault {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// Tells every thread of a download that one of them failed, also while they wait.
#[derive(Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn now(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(super) fn check(&self) -> Result<(), HubError> {
        self.wait(Duration::ZERO)
    }

    /// Waits, or fails at once when the download is stopped.
    pub(super) fn wait(&self, duration: Duration) -> Result<(), HubError> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = self
            .changed
            .wait_timeout_while(stopped, duration, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return Err(HubError::Stopped);
        }
        Ok(())
    }
}

/// An input or output error without the layers around it.
pub(super) fn describe(error: &std::io::Error, timeout: Duration) -> String {
    let inner = error.get_ref();
    if let Some(ureq::Error::Timeout(_)) = inner.and_then(|e| e.downcast_ref()) {
        return silence(timeout);
    }
    if let Some(tls @ rustls::Error::InvalidCertificate(_)) = inner.and_then(|e| e.downcast_ref()) {
        return format!(
            "{tls} (add the certificate of its authority to the system's, or name its file in SSL_CERT_FILE)"
        );
    }
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the connection was cut".to_owned(),
        _ => error.to_string(),
    }
}

/// Says that nothing came for as long as is allowed.
pub(super) fn silence(timeout: Duration) -> String {
    format!("nothing came for {} seconds", timeout.as_secs_f32())
}
