//! Scores an endless supply of items in order, with as much in memory as two windows hold.

mod window;

use std::collections::VecDeque;

use crate::{
    batch::PlanStats,
    error::{ErrorKind, Result},
    reward::Reward,
    scorer::Scorer,
    submitted::PendingScores,
    text::Conversation,
};
use window::{Filled, Windows};

/// Windows under way: one is computed while the next is read and tokenised.
const WINDOWS: usize = 2;

/// Iterator over `(item, scores of its conversations)`; made by [`Scorer::stream`].
pub struct ScoreStream<'s, T, I> {
    scorer: &'s Scorer,
    items: I,
    windows: VecDeque<(Vec<(T, usize)>, PendingScores)>,
    ready: VecDeque<(T, Vec<Result<Reward>>)>,
    stats: PlanStats,
    exhausted: bool,
    stopped: bool,
    size: Windows,
}

impl Scorer {
    /// Scores a stream of items, each with any number of conversations, in order and in bounded memory.
    ///
    /// Items are taken in windows of a few hundred conversations. While one window is computed the next
    /// is read and tokenised. `T` is whatever the caller wants back with the scores.
    pub fn stream<T, I>(&self, items: I) -> ScoreStream<'_, T, I::IntoIter>
    where
        I: IntoIterator<Item = (T, Vec<Conversation>)>,
    {
        ScoreStream::new(self, items.into_iter())
    }
}

impl<'s, T, I: Iterator<Item = (T, Vec<Conversation>)>> ScoreStream<'s, T, I> {
    fn new(scorer: &'s Scorer, items: I) -> Self {
        Self {
            scorer,
            items,
            windows: VecDeque::with_capacity(WINDOWS),
            ready: VecDeque::new(),
            stats: PlanStats::default(),
            exhausted: false,
            stopped: false,
            size: Windows::new(scorer.wave_tokens()),
        }
    }

    /// Totals over everything that was scored so far.
    #[must_use]
    pub fn stats(&self) -> &PlanStats {
        &self.stats
    }

    /// Whether the next item can be had without waiting.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes no more items, and cancels what is not scored yet. Of the items that were taken, those before the first with a
    /// cancelled conversation still come.
    pub fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        self.exhausted = true;
        for (_, batch) in &self.windows {
            batch.cancel();
        }
    }

    /// Reads a window and puts it in line.
    fn submit_window(&mut self) {
        let mut owners = Vec::new();
        let mut conversations = Vec::new();
        let mut filled = Filled::default();
        while self.size.has_room_after(&filled) {
            let Some((item, of_item)) = self.items.next() else {
                self.exhausted = true;
                break;
            };
            filled.add(&of_item);
            owners.push((item, of_item.len()));
            conversations.extend(of_item);
        }
        if owners.is_empty() {
            return;
        }
        let batch = match self.size.are_learned() {
            true => {
                let (batch, tokens) = self.scorer.submit_counted(&conversations);
                self.size.learn(&filled, tokens);
                batch
            }
            false => self.scorer.submit(&conversations),
        };
        self.windows.push_back((owners, batch));
    }
}

impl<T, I: Iterator<Item = (T, Vec<Conversation>)>> Iterator for ScoreStream<'_, T, I> {
    type Item = (T, Vec<Result<Reward>>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            while !self.exhausted && self.windows.len() < WINDOWS {
                self.submit_window();
            }
            let (owners, batch) = self.windows.pop_front()?;
            let (scores, work) = batch.wait_with_work();
            self.stats += work;
            let mut scores = scores.into_iter();
            for (item, count) in owners {
                let of_item: Vec<_> = scores.by_ref().take(count).collect();
                if self.stopped && of_item.iter().any(is_cancelled) {
                    self.windows.clear();
                    break;
                }
                self.ready.push_back((item, of_item));
            }
        }
    }
}

fn is_cancelled(outcome: &Result<Reward>) -> bool {
    let error = outcome.as_ref().err();
    error.is_some_and(|error| error.kind() == ErrorKind::Cancelled)
}
