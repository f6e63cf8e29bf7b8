//! Where the outcomes of contents are: here, in a shard that is committed, or not there yet.

use std::sync::{Arc, OnceLock};

use anyhow::Result;

use super::{
    item::Prepared,
    model::Model,
    under_way::UnderWay,
    work::{Run, State},
};

impl<M: Model> Run<'_, '_, M> {
    /// The first shard that a record waits for.
    pub(super) fn awaited(
        &self,
        state: &mut State<M::Outcome>,
        record: &Prepared,
    ) -> Result<Option<usize>> {
        let State { shards, known, .. } = state;
        let Some(own) = shards.get(&record.shard) else {
            return Ok(None);
        };
        let mut awaited: Option<usize> = None;
        for content in &record.contents {
            if own.place(content).is_some() || known.is_seen(content) {
                continue;
            }
            let Some(first) = own.repeats.first(content) else {
                continue;
            };
            let has_come = match shards.get(&first.shard) {
                Some(ours) => ours.has(content, first),
                None => known.is_committed(self.work.job, first.shard)?,
            };
            if !has_come {
                awaited = Some(awaited.map_or(first.shard, |other| other.min(first.shard)));
            }
        }
        Ok(awaited)
    }

    /// Looks which records wait no more.
    pub(super) fn look_at_waiting(&self, state: &mut State<M::Outcome>) -> Result<()> {
        state.known.look_again();
        for (_, record) in state.waiting.take() {
            match self.awaited(state, &record)? {
                Some(shard) => state.waiting.add(shard, record),
                None => state.ready.push_back(record),
            }
        }
        Ok(())
    }

    /// The place of the outcome of a content of a shard, and whether it is for the caller to fill it.
    pub(super) fn place(
        &self,
        state: &mut State<M::Outcome>,
        shard: usize,
        content: [u8; 16],
    ) -> Result<(Arc<OnceLock<M::Outcome>>, bool)> {
        let State { shards, known, .. } = state;
        let own = shards.get(&shard);
        let first = own.and_then(|own| own.repeats.first(&content));
        let of_first = first.and_then(|first| shards.get(&first.shard));
        let in_one = |one: Option<&UnderWay<_>>| one?.place(&content).map(Arc::clone);
        if let Some(place) = in_one(own).or_else(|| in_one(of_first)) {
            return Ok((place, false));
        }
        let line = first
            .zip(of_first)
            .and_then(|(first, ours)| ours.lines.get(&first.record));
        let (place, is_new) = known.place::<M>(self.work.job, content, first, line)?;
        if self.work.is_deduplicated()
            && let Some(own) = shards.get_mut(&shard)
        {
            own.remember(content, &place);
        }
        Ok((place, is_new))
    }
}
