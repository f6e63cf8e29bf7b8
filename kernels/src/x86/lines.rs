//! Memory in cache lines.

/// A cache line: 16 floats, or 16 pairs of bfloat16 numbers.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u32; 16]);

/// A buffer that is kept between calls and never cleared.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<Line>);

impl Lines {
    /// `count` lines, of whatever was there.
    pub(crate) fn take(&mut self, count: usize) -> &mut [Line] {
        if self.0.len() < count {
            self.0.resize(count, Line([0; 16]));
        }
        &mut self.0[..count]
    }
}

/// Memory that tasks write to at places that do not overlap.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T, usize);

// SAFETY: whoever writes through it promises that no two tasks write to one element, see `slice`.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr(), slice.len())
    }

    /// `count` elements from `start` on.
    ///
    /// # Panics
    /// When they are not all there.
    ///
    /// # Safety
    /// The slice that this was made of is still borrowed for it, and no other task holds any of these elements.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, start: usize, count: usize) -> &mut [T] {
        assert!(start <= self.1 && count <= self.1 - start);
        // SAFETY: within the slice, and nobody else's by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), count) }
    }
}
