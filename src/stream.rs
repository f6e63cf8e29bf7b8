//! Scores an endless supply of items in order, with as much in memory as two windows hold.

use std::collections::VecDeque;

use crate::{
    batch::PlanStats,
    error::Result,
    evaluation::Evaluation,
    scorer::Scorer,
    submitted::Batch,
    text::{Conversation, Message},
};

/// Conversations in a window: enough for the planner to find shared beginnings and like lengths.
const WINDOW_CONVERSATIONS: usize = 512;

/// Bytes of text in a window, so that windows of very long conversations stay small.
const WINDOW_BYTES: usize = 4 << 20;

/// Bytes of text that a token stands for, about. Chat templates add tokens and shared beginnings take them away.
const BYTES_PER_TOKEN: usize = 4;

/// Windows under way: one is computed while the next is read and tokenised.
const WINDOWS: usize = 2;

/// Iterator over `(item, scores of its conversations)`; made by [`Scorer::stream`].
pub struct ScoreStream<'s, T, I> {
    scorer: &'s Scorer,
    items: I,
    windows: VecDeque<(Vec<(T, usize)>, Batch)>,
    ready: VecDeque<(T, Vec<Result<Evaluation>>)>,
    stats: PlanStats,
    exhausted: bool,
    /// Most conversations and bytes of text in a window.
    window: (usize, usize),
}

impl<'s, T, I: Iterator<Item = (T, Vec<Conversation>)>> ScoreStream<'s, T, I> {
    pub(crate) fn new(scorer: &'s Scorer, items: I) -> Self {
        Self {
            scorer,
            items,
            windows: VecDeque::with_capacity(WINDOWS),
            ready: VecDeque::new(),
            stats: PlanStats::default(),
            exhausted: false,
            window: match scorer.wave_tokens() {
                // The weights are read anew for every window, so a window is as much as a wave holds.
                Some(tokens) => (usize::MAX, tokens.saturating_mul(BYTES_PER_TOKEN)),
                None => (WINDOW_CONVERSATIONS, WINDOW_BYTES),
            },
        }
    }

    /// Totals over everything submitted so far.
    #[must_use]
    pub fn stats(&self) -> &PlanStats {
        &self.stats
    }

    /// Whether the next item can be had without waiting.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Reads a window and puts it in line.
    fn submit_window(&mut self) {
        let mut owners = Vec::new();
        let mut conversations = Vec::new();
        let mut bytes = 0;
        let (most, most_bytes) = self.window;
        while conversations.len() < most && owners.len() < most && bytes < most_bytes {
            let Some((item, of_item)) = self.items.next() else {
                self.exhausted = true;
                break;
            };
            bytes += of_item.iter().map(text_bytes).sum::<usize>();
            owners.push((item, of_item.len()));
            conversations.extend(of_item);
        }
        if owners.is_empty() {
            return;
        }
        let batch = self.scorer.submit(&conversations);
        self.stats += *batch.stats();
        self.windows.push_back((owners, batch));
    }
}

impl<T, I: Iterator<Item = (T, Vec<Conversation>)>> Iterator for ScoreStream<'_, T, I> {
    type Item = (T, Vec<Result<Evaluation>>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            while !self.exhausted && self.windows.len() < WINDOWS {
                self.submit_window();
            }
            let (owners, batch) = self.windows.pop_front()?;
            let mut scores = batch.wait().into_iter();
            for (item, count) in owners {
                self.ready
                    .push_back((item, scores.by_ref().take(count).collect()));
            }
        }
    }
}

/// Bytes of a conversation's messages, which stand for its tokens before it is tokenised.
fn text_bytes(conversation: &Conversation) -> usize {
    let texts = conversation.messages.iter().filter_map(Message::content);
    let steps = conversation.messages.iter().filter_map(Message::steps);
    texts.chain(steps.flatten()).map(str::len).sum()
}
