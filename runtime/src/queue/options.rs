//! How much may wait, and what a caller may ask for.

use std::time::{Duration, Instant};

/// How much may be in a [`Queue`](super::Queue), and how it fills packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueOptions {
    /// Most conversations that wait or are computed. Default 65,536.
    pub max_conversations: usize,
    /// Most tokens of them, before shared beginnings are taken out. Default 16,777,216: 64 MiB of ids. A conversation that
    /// has more by itself is taken when there is no other.
    pub max_tokens: usize,
    /// How long a conversation may wait for others that fill its pack, while the engine has nothing to do. Default 0. Unless it
    /// is 0, the pack that an engine takes next is planned when half the time of the one before it has passed.
    pub max_delay: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            max_conversations: 1 << 16,
            max_tokens: 1 << 24,
            max_delay: Duration::ZERO,
        }
    }
}

impl QueueOptions {
    /// Sets how many conversations may wait or be computed.
    #[must_use]
    pub fn with_max_conversations(mut self, conversations: usize) -> Self {
        self.max_conversations = conversations;
        self
    }

    /// Sets how many tokens may wait or be computed.
    #[must_use]
    pub fn with_max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// Sets how long a conversation may wait for others that fill its pack.
    #[must_use]
    pub fn with_max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }
}

/// Who asks: callers have equal shares of the engine while each of them has something waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(pub u64);

/// How large a caller's share is. A caller's conversations of different priority have shares of their own; none of them
/// ever waits for all of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// A quarter of the normal share.
    Low,
    /// The normal share.
    #[default]
    Normal,
    /// Four times the normal share.
    High,
}

impl Priority {
    /// What a computed token counts, in quarters of a token of a normal share.
    pub(super) fn cost(self) -> u64 {
        match self {
            Self::Low => 16,
            Self::Normal => 4,
            Self::High => 1,
        }
    }
}

/// What is asked for beside a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestOptions {
    /// Whose share it is.
    pub caller: Caller,
    /// How large that share is.
    pub priority: Priority,
    /// When nobody needs the score any more. Default: never.
    pub deadline: Option<Instant>,
}

impl RequestOptions {
    /// Sets whose share it is.
    #[must_use]
    pub fn with_caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// Sets how large that share is.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets when nobody needs the score any more.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
}
