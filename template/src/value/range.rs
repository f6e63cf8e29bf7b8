//! `range`.

use crate::error::{Result, value_error};

/// The numbers of a `range`.
#[derive(Clone)]
pub(crate) struct Range {
    start: i64,
    stop: i64,
    step: i64,
    len: usize,
}

impl Range {
    pub(crate) fn new(start: i64, stop: i64, step: i64) -> Result<Self> {
        if step == 0 {
            return Err(value_error("range() arg 3 must not be zero"));
        }
        let (from, to) = (i128::from(start), i128::from(stop));
        let distance = if step > 0 { to - from } else { from - to };
        let width = i128::from(step).abs();
        let len = if distance <= 0 {
            0
        } else {
            (distance + width - 1) / width
        };
        Ok(Self {
            start,
            stop,
            step,
            len: usize::try_from(len).unwrap_or(usize::MAX),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    pub(crate) fn stop(&self) -> i64 {
        self.stop
    }

    pub(crate) fn step(&self) -> i64 {
        self.step
    }

    pub(crate) fn at(&self, index: usize) -> Option<i64> {
        let index = i64::try_from(index).ok().filter(|_| index < self.len)?;
        Some(self.start + self.step * index)
    }

    pub(crate) fn index_of(&self, value: i64) -> Option<usize> {
        let offset = i128::from(value) - i128::from(self.start);
        let step = i128::from(self.step);
        if offset % step != 0 {
            return None;
        }
        usize::try_from(offset / step)
            .ok()
            .filter(|index| *index < self.len)
    }

    /// The positions `start`, `start + step`, … as a range again.
    pub(crate) fn slice(&self, start: i64, stop: i64, step: i64) -> Result<Self> {
        let place = |index: i64| self.start.saturating_add(self.step.saturating_mul(index));
        Self::new(place(start), place(stop), self.step.saturating_mul(step))
    }
}
