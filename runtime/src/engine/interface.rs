//! What computes packs, as a queue sees it.

use super::{EngineError, cancellation::Cancellation, sync::Arc};
use crate::batch::PackInputs;

/// Computes packs: the stages of a bundle, or something that stands in for them.
///
/// An engine may be given packs by several threads, and answers each of them once.
pub trait Engine: Send + Sync {
    /// How much it is worth having in hand: with less, parts of the engine have nothing to do.
    fn capacity(&self) -> Capacity;

    /// Takes packs and returns at once. Packs that are given together may be computed together.
    ///
    /// Each is answered through its [`Completion`], from any thread, with the numbers of its `score_tokens` one after the
    /// other (as many for each as the model has labels). One whose [`Cancellation`] says so may be left out.
    fn submit(&self, packs: Vec<Submission>);

    /// Whether it can still compute.
    fn health(&self) -> Health;
}

/// Which copies of a model still work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// How many copies there are.
    pub copies: usize,
    /// Those of them that have lost a device, which only a new process mends.
    pub lost: usize,
}

impl Health {
    /// Of an engine that loses nothing.
    pub const WHOLE: Self = Self { copies: 1, lost: 0 };

    /// Whether every pack fails from now on.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost >= self.copies
    }
}

/// How much an engine should be given before it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Packs, at least 1.
    pub packs: usize,
    /// Unique tokens of them. Two packs are given whatever they have: one that is computed, and one that is next.
    pub tokens: usize,
}

/// A pack for an engine.
#[derive(Debug)]
pub struct Submission {
    /// What is computed.
    pub inputs: PackInputs,
    /// Whether it still has to be.
    pub cancellation: Arc<Cancellation>,
    /// Where the answer goes.
    pub completion: Completion,
}

/// Takes the answer to a pack. One that is dropped without an answer gives [`EngineError::Stopped`].
pub struct Completion(Option<Box<dyn FnOnce(Answer) + Send>>);

type Answer = Result<Vec<f32>, EngineError>;

impl Completion {
    /// Calls `take` with the answer, on whatever thread gives it.
    pub fn new(take: impl FnOnce(Answer) + Send + 'static) -> Self {
        Self(Some(Box::new(take)))
    }

    /// Gives the answer.
    pub fn complete(mut self, answer: Result<Vec<f32>, EngineError>) {
        if let Some(take) = self.0.take() {
            take(answer);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(take) = self.0.take() {
            take(Err(EngineError::Stopped("a stage ended early".into())));
        }
    }
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Completion")
    }
}
