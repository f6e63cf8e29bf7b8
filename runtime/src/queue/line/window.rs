//! What is planned together.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::{At, Line, Window, drop_gone};

/// Most sequences that are planned together: enough to find those that share a beginning.
const WINDOW_SEQUENCES: usize = 1 << 13;
/// Most tokens of them, in packs.
const WINDOW_PACKS: usize = 1 << 10;

impl<T> Line<T> {
    /// Takes out what is planned together: of the flow that is furthest behind first. With packs that are planned already,
    /// only what goes before `planned`, the first of them, and what fills a pack with it.
    pub(super) fn take_window(&mut self, planned: Option<u64>) -> Window {
        let most_tokens = self.pack_tokens.saturating_mul(WINDOW_PACKS);
        let mut window = Window {
            ids: Vec::new(),
            flows: Vec::new(),
            costs: Vec::new(),
            times: BTreeMap::new(),
            sequences: Vec::new(),
            scored: Vec::new(),
        };
        let mut turns: BinaryHeap<_> = self.waiting_flows().map(Reverse).collect();
        let mut taken = 0_usize;
        while let Some(Reverse((time, key))) = turns.pop() {
            let fills = taken < self.pack_tokens;
            let is_late = planned.is_some_and(|planned| time >= planned);
            if taken >= most_tokens || window.ids.len() >= WINDOW_SEQUENCES || is_late && !fills {
                break;
            }
            let Some(flow) = self.flows.get_mut(&key) else {
                continue;
            };
            let Some(id) = flow.waiting.pop_front() else {
                continue;
            };
            let Some(entry) = self.entries.get_mut(&id) else {
                drop_gone(&mut flow.waiting, &self.entries);
                if !flow.waiting.is_empty() {
                    turns.push(Reverse((flow.time, key)));
                }
                continue;
            };
            if let At::Waiting {
                since, put_back, ..
            } = entry.at
                && let At::Waiting { sequence, .. } =
                    std::mem::replace(&mut entry.at, At::Window { since, put_back })
            {
                let cost = entry.tokens as u64 * key.0.cost();
                window.times.entry(key).or_insert(flow.time);
                flow.time += cost;
                taken += entry.tokens;
                self.waiting.0 -= 1;
                self.waiting.1 -= entry.tokens;
                window.ids.push(id);
                window.flows.push(key);
                window.costs.push(cost);
                window.sequences.push(sequence.ids);
                window.scored.push(sequence.scored);
            }
            drop_gone(&mut flow.waiting, &self.entries);
            if !flow.waiting.is_empty() {
                turns.push(Reverse((flow.time, key)));
            }
        }
        window
    }

    /// Takes out the entries of a window that could not be planned.
    pub(in super::super) fn refuse(&mut self, window: &Window) -> Vec<T> {
        let ids = window.ids.iter();
        ids.filter_map(|&id| Some(self.withdraw(id)?.kept))
            .collect()
    }
}
