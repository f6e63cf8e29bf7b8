//! What a queue's callers and its thread share: the line, and how a sequence gets into it and out.

use std::time::{Duration, Instant};

use super::super::{
    error::QueueError,
    line::{Arrivals, Line},
    options::RequestOptions,
    sequence::Sequence,
    sync::{Arc, Condvar, Mutex, MutexGuard, Weak},
    ticket::{Slot, Ticket, Withdraw},
};
use crate::{
    batch::{Budget, PlanStats},
    engine::EngineError,
};

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Something has changed for the dispatcher.
    pub(super) changed: Condvar,
    /// Something has left, for those who wait to be admitted.
    pub(super) left: Condvar,
    pub(super) budget: Budget,
    /// Numbers for each scored token.
    pub(super) width: usize,
}

pub(super) struct State {
    pub(super) line: Line<Arc<Slot>>,
    /// Those that the dispatcher is woken for.
    pub(super) arrivals: Arrivals,
    pub(super) closed: bool,
    pub(super) planned: PlanStats,
    pub(super) planning: Duration,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // The line is changed by functions that do not panic half way.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn admit(
        self: &Arc<Self>,
        state: &mut State,
        sequence: Sequence,
        request: &RequestOptions,
    ) -> Ticket {
        let slot = Arc::new(Slot::default());
        let kept = Arc::clone(&slot);
        let refused = match sequence.check() {
            _ if state.closed => Some(QueueError::Closed),
            Ok(()) => None,
            Err(error) => Some(error.into()),
        };
        let id = match refused {
            None => state.line.admit(sequence, request, kept, Instant::now()),
            Some(error) => {
                slot.fill(Err(error));
                u64::MAX
            }
        };
        let queue: Weak<Self> = Arc::downgrade(self);
        Ticket { id, slot, queue }
    }

    /// The dispatcher is gone.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        for slot in state.line.drain() {
            let stopped = EngineError::Stopped("the queue panicked".into());
            slot.fill(Err(stopped.into()));
        }
        self.left.notify_all();
    }
}

impl Withdraw for Shared {
    fn withdraw(&self, id: u64) {
        let withdrawn = self.lock().line.withdraw(id);
        let Some(withdrawn) = withdrawn else {
            return;
        };
        if let Some(run) = withdrawn.unwanted {
            run.cancel();
        }
        self.changed.notify_one();
        self.left.notify_all();
    }
}
