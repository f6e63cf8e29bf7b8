//! What becomes of a window that was planned: which packs are next, and what goes back into the line.
//!
//! An engine takes a pack or two at a time, and while it computes them others come that share prompts with those that wait. So
//! of a short line only the packs that the engine takes now are kept, those first whose newest member came first: answers to
//! one prompt come one soon after the other, and those that are the last to have come are likely to lack some. The rest is
//! planned again, with what has come meanwhile.

use super::{Arc, At, Capacity, Line, Pack, PlanStats, PlannedPack, Sequence, Turn, Window};
use crate::batch::Plan;

/// Most sequences that go back into the line at a time. Planning so many again takes less than a millisecond.
const MOST_BACK: usize = 1 << 8;
/// How often a sequence may go back until its pack goes before those of whom none has.
const TIMES_BACK: u8 = 3;

impl<T> Line<T> {
    /// Notes how a window was planned, for an engine of this capacity. Returns what came of it: a sequence that goes back into
    /// the line is counted when it is planned again.
    pub(in super::super) fn planned(
        &mut self,
        mut window: Window,
        mut plan: Plan,
        capacity: Capacity,
    ) -> PlanStats {
        let waits = !self.options.max_delay.is_zero() && self.planned.is_empty();
        if waits {
            plan.packs.sort_by_key(|pack| self.order(&window, pack));
        }
        let mut packs = self.turns(&window, plan.packs);
        let mut stats = plan.stats;
        if waits {
            packs.sort_by_key(|(turn, _)| *turn);
            let free = capacity.packs.saturating_sub(self.running.len()).max(1);
            let later = packs.get(free..).unwrap_or_default();
            let back: usize = later.iter().map(|(_, pack)| pack.members.len()).sum();
            if back > 0 && back <= MOST_BACK {
                let later = packs.split_off(free);
                let kept = packs.iter();
                stats = kept.map(|(_, pack)| pack.stats(&window.sequences)).sum();
                let members = later.into_iter().flat_map(|(_, pack)| pack.members);
                self.put_back(&mut window, members.collect());
            }
        }
        self.keep(window, packs);
        stats
    }

    /// What orders packs: when the newest member came. Before all of them are those with a member that has gone back often
    /// enough, in the order in which their oldest came, so that nobody waits for ever.
    fn order(&self, window: &Window, pack: &Pack) -> (bool, Option<u64>) {
        let ids = || pack.members.iter().map(|&member| window.ids[member]);
        let is_due = |id: u64| match self.entries.get(&id).map(|entry| &entry.at) {
            Some(At::Window { put_back, .. }) => *put_back >= TIMES_BACK,
            _ => false,
        };
        match ids().any(is_due) {
            true => (false, ids().filter(|&id| is_due(id)).min()),
            false => (true, ids().max()),
        }
    }

    /// The packs with the times of their flows.
    fn turns(&mut self, window: &Window, packs: Vec<Pack>) -> Vec<(Turn, Pack)> {
        let mut times = window.times.clone();
        let with_turn = packs.into_iter().map(|pack| {
            let mut turn = u64::MAX;
            for &member in &pack.members {
                if let Some(time) = times.get_mut(&window.flows[member]) {
                    turn = turn.min(*time);
                    *time += window.costs[member];
                }
            }
            let number = self.next_pack;
            self.next_pack += 1;
            ((turn, number), pack)
        });
        with_turn.collect()
    }

    /// Puts members of a window back to where they were in the line.
    fn put_back(&mut self, window: &mut Window, mut members: Vec<usize>) {
        members.sort_unstable();
        for member in members.into_iter().rev() {
            let (id, key) = (window.ids[member], window.flows[member]);
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            let At::Window { since, put_back } = entry.at else {
                continue;
            };
            let ids = std::mem::take(&mut window.sequences[member]);
            let scored = std::mem::take(&mut window.scored[member]);
            entry.at = At::Waiting {
                sequence: Sequence { ids, scored },
                since,
                flow: key,
                put_back: put_back.saturating_add(1),
            };
            self.waiting.0 += 1;
            self.waiting.1 += entry.tokens;
            let flow = self.flows.entry(key).or_default();
            flow.waiting.push_front(id);
            flow.time -= window.costs[member].min(flow.time);
        }
    }

    /// Keeps packs until the engine takes them.
    fn keep(&mut self, window: Window, packs: Vec<(Turn, Pack)>) {
        let window = Arc::new(window);
        for (turn, pack) in packs {
            let mut wanted = 0;
            for &member in &pack.members {
                if let Some(entry) = self.entries.get_mut(&window.ids[member]) {
                    entry.at = At::Planned(turn);
                    wanted += 1;
                }
            }
            if wanted > 0 {
                let pack = PlannedPack {
                    work: pack.stats(&window.sequences),
                    pack,
                    window: Arc::clone(&window),
                    wanted,
                };
                self.planned.insert(turn, pack);
            }
        }
    }
}
