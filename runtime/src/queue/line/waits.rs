//! How long others are waited for before what is there is planned, and whose arrival ends that.

use std::time::Instant;

use super::{Arrivals, At, Capacity, Flow, Line, RequestOptions};

impl<T> Line<T> {
    /// Whether a thread that waits has to look again, since something has arrived.
    pub(in super::super) fn is_news(&self, arrivals: Arrivals, request: &RequestOptions) -> bool {
        request.deadline.is_some()
            || match arrivals {
                Arrivals::Matter => true,
                Arrivals::MatterFrom(tokens) => self.waiting.1 >= tokens,
                Arrivals::DoNotMatter => false,
            }
    }

    /// Until when to wait for others, and which of them end that; `None` when it is time to plan.
    pub(super) fn waits_until(
        &self,
        capacity: Capacity,
        now: Instant,
    ) -> Option<(Instant, Arrivals)> {
        let fills = self.fills_until();
        let matter = fills.map(|until| (until, Arrivals::MatterFrom(self.pack_tokens)));
        let no_hurry = self.no_hurry_until(capacity);
        let no_hurry = no_hurry.map(|until| (until, Arrivals::DoNotMatter));
        let latest = no_hurry
            .into_iter()
            .chain(matter)
            .max_by_key(|(until, _)| *until);
        latest.filter(|(until, _)| *until > now)
    }

    /// Until when the engine, which computes as many packs as it can, does not need the one that is next.
    fn no_hurry_until(&self, capacity: Capacity) -> Option<Instant> {
        if self.options.max_delay.is_zero() || self.running.len() + 1 != capacity.packs {
            return None;
        }
        let oldest = self.running.iter().min_by_key(|(number, _)| **number);
        oldest.and_then(|(_, pack)| self.pace.no_hurry_until(pack.sent, pack.tokens))
    }

    /// Until when to wait for others that fill a pack; `None` when there is one, or none is waited for.
    fn fills_until(&self) -> Option<Instant> {
        if self.options.max_delay.is_zero() || self.waiting.1 >= self.pack_tokens {
            return None;
        }
        let first = |flow: &Flow| match self.entries.get(flow.waiting.front()?)?.at {
            At::Waiting { since, .. } => Some(since),
            _ => None,
        };
        let oldest = self.flows.values().filter_map(first).min()?;
        oldest.checked_add(self.options.max_delay)
    }
}
