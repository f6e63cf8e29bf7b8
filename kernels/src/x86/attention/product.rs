//! Products of bfloat16 parts on AMX tiles, a few instructions at a time: what vectors do between them costs nothing.

use std::arch::asm;

use crate::x86::{amx::Tiles, lines::Line, pack::STEP_LINES};

/// Which parts are multiplied with each other: those whose numbers together are below the number of parts. The products of
/// the first parts are summed last: what the others are rounded to is far below the sum's last bit. Each of the others
/// has one part in common with the next where that can be.
const ORDER: [&[(usize, usize)]; 3] = [
    &[(0, 0)],
    &[(1, 0), (0, 1), (0, 0)],
    &[(2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0)],
];

/// `sums[row, column] = left[row] . right[column]` for two tiles of rows and two of columns, packed in steps of `PARTS`
/// parts.
pub(super) struct Product<'a, const PARTS: usize> {
    pub(super) left: &'a [Line],
    pub(super) right: &'a [Line],
    pub(super) sums: &'a mut [Line],
    /// Lines from the first tile of columns to the second. The second of rows stands behind the first.
    pub(super) between: usize,
}

/// How far a product is.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    step: usize,
    /// In the order of parts.
    place: usize,
}

impl<const PARTS: usize> Product<'_, PARTS> {
    /// Lines of a step.
    const STEP: usize = PARTS * STEP_LINES;

    /// How often a product of some steps is to be advanced.
    pub(super) fn count(steps: usize) -> usize {
        steps * ORDER[PARTS - 1].len()
    }

    /// Multiplies the tiles of two parts of a step. Whether more is left is returned.
    #[inline(always)]
    pub(super) fn advance(self, _tiles: &Tiles, progress: &mut Progress) -> bool {
        let order = ORDER[PARTS - 1];
        let last = order.len() - 1;
        let steps = self.left.len() / Self::STEP;
        let &mut Progress { step, place } = progress;
        let (one, other) = order[place];
        let left = &self.left[step * Self::STEP + one * STEP_LINES..][..STEP_LINES];
        let right = &self.right[step * Self::STEP + other * STEP_LINES..][..STEP_LINES];
        let loaded = (0 < place && place < last).then(|| order[place - 1]);
        // SAFETY: the tiles are configured, and there are as many lines as are read.
        unsafe {
            if step == 0 && place == 0 {
                clear();
            }
            if loaded.is_none_or(|(loaded, _)| loaded != one) {
                load_left(left.as_ptr());
            }
            if loaded.is_none_or(|(_, loaded)| loaded != other) {
                load_right(right.as_ptr());
            }
            multiply();
        }
        let (step, place) = if place + 1 < last {
            (step, place + 1)
        } else if step + 1 < steps {
            (step + 1, if place < last { 0 } else { last })
        } else if place < last {
            (0, last)
        } else {
            let (first, second) = self.sums.split_at_mut(self.between);
            let first = first[..STEP_LINES].as_mut_ptr();
            // SAFETY: there is room for two tiles in both.
            unsafe { store(first, second[..STEP_LINES].as_mut_ptr()) };
            *progress = Progress::default();
            return false;
        };
        *progress = Progress { step, place };
        true
    }
}

/// # Safety
/// The tiles are configured, and nobody but this module uses them meanwhile. So too below.
#[inline(always)]
unsafe fn clear() {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
/// As above, and there are two tiles.
#[inline(always)]
unsafe fn load_left(tiles: *const Line) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tileloadd tmm4, [{tiles} + {line}]",
            "tileloadd tmm5, [{tiles} + {line} + 1024]",
            tiles = in(reg) tiles,
            line = in(reg) 64usize,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
/// As above.
#[inline(always)]
unsafe fn load_right(tiles: *const Line) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tileloadd tmm6, [{tiles} + {line}]",
            "tileloadd tmm7, [{tiles} + {line} + 1024]",
            tiles = in(reg) tiles,
            line = in(reg) 64usize,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
/// As above. It is not `nomem`, so that it stays between the others.
#[inline(always)]
unsafe fn multiply() {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
/// As above, and there is room for two tiles of the first columns, and of the second.
#[inline(always)]
unsafe fn store(first: *mut Line, second: *mut Line) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tilestored [{first} + {line}], tmm0",
            "tilestored [{second} + {line}], tmm1",
            "tilestored [{first} + {line} + 1024], tmm2",
            "tilestored [{second} + {line} + 1024], tmm3",
            first = in(reg) first,
            second = in(reg) second,
            line = in(reg) 64usize,
            options(nostack, preserves_flags),
        );
    }
}
