//! Whether anybody still waits for a pack, and how its run is interrupted when nobody does.

use std::time::Instant;

use super::{Watch, sync::Mutex};

/// Shared by whoever waits for a pack and the engine that computes it.
#[derive(Default)]
pub struct Cancellation {
    state: Mutex<State>,
    /// When the latest run began: a stage that shares its device has waited for its turn by then. Only noted, so
    /// `model_check` need not know of it.
    begun: std::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
enum State {
    #[default]
    Wanted,
    /// A run is under way; calling this ends it early.
    Running(Box<dyn Fn() + Send>),
    Cancelled,
}

impl Cancellation {
    /// Nobody waits any more: the pack is skipped, and a run of it that is under way is interrupted.
    pub fn cancel(&self) {
        let mut state = self.lock();
        if let State::Running(interrupt) = std::mem::replace(&mut *state, State::Cancelled) {
            interrupt();
        }
    }

    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.lock(), State::Cancelled)
    }

    /// When the run that was handed to a stage at `handed` began, as the stage has said; `None` when it has not.
    pub(super) fn begun(&self, handed: Instant) -> Option<Instant> {
        let begun = self.begun.lock();
        let begun = *begun.unwrap_or_else(|poisoned| poisoned.into_inner());
        begun.filter(|begun| *begun >= handed)
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = State> {
        // A holder that panicked has left a state that is whole.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Watch for Cancellation {
    fn begin(&self, interrupt: Box<dyn Fn() + Send>) -> bool {
        let mut state = self.lock();
        if matches!(*state, State::Cancelled) {
            return false;
        }
        *state = State::Running(interrupt);
        let mut begun = self
            .begun
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *begun = Some(Instant::now());
        true
    }

    fn end(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Running(_)) {
            *state = State::Wanted;
        }
    }
}

impl std::fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancellation")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}
