//! Which servers, and how they are asked.

use std::{num::NonZeroUsize, time::Duration};

/// How a [`RemoteScorer`](super::RemoteScorer) asks servers.
#[derive(Clone)]
#[non_exhaustive]
pub struct RemoteOptions {
    /// Addresses of servers, `http://HOST:PORT` or `https://…`; a path before `/v1/score` is kept.
    pub endpoints: Vec<String>,
    /// The model that is asked for. Default: the first that a server has.
    pub model: Option<String>,
    /// The key that servers ask for. Default: none.
    pub api_key: Option<String>,
    /// Requests under way at once, for each server. Default 4.
    pub requests: NonZeroUsize,
    /// Most conversations of a request. Default 64.
    pub conversations: NonZeroUsize,
    /// How often a request is sent again, to this server or another, before all ends with an error. Default 10, which takes
    /// about three minutes where no server answers.
    pub retries: u32,
    /// The longest wait before a request is sent again. It begins with half a second and doubles. Default 30 s.
    pub longest_wait: Duration,
    /// How long a server may take for a request. Default: no limit.
    pub timeout: Option<Duration>,
}

impl RemoteOptions {
    /// The default options, for servers at these addresses.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        const FOUR: NonZeroUsize = NonZeroUsize::new(4).unwrap();
        const MANY: NonZeroUsize = NonZeroUsize::new(64).unwrap();
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            model: None,
            api_key: None,
            requests: FOUR,
            conversations: MANY,
            retries: 10,
            longest_wait: Duration::from_secs(30),
            timeout: None,
        }
    }

    /// Sets the model that is asked for.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Sets the key that servers ask for.
    #[must_use]
    pub fn with_api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sets how often a request is sent again.
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Sets the longest wait before a request is sent again.
    #[must_use]
    pub fn with_longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait;
        self
    }
}

impl std::fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteOptions")
            .field("endpoints", &self.endpoints)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}
