//! Products of bfloat16 parts on AMX tiles, a few instructions at a time: what vectors do between them costs nothing.

use std::arch::asm;

use crate::x86::{amx::Tiles, lines::Line, pack::STEP_LINES};

/// Which parts are multiplied with each other: those whose numbers together are below the number of parts. The products of
/// the first parts are summed last: what the others are rounded to is far below the sum's last bit.
const ORDER: [&[(usize, usize)]; 3] = [
    &[(0, 0)],
    &[(1, 0), (0, 1), (0, 0)],
    &[(2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0)],
];

/// `sums[row, column] = left[row] . right[column]` for two tiles of rows and two of columns, packed in steps of some parts.
/// Each is told by its first line.
pub(super) struct Product {
    pub(super) left: usize,
    pub(super) right: usize,
    pub(super) steps: usize,
    pub(super) sums: usize,
    /// Lines from the sums of the first tile of columns to those of the second.
    pub(super) between: usize,
}

/// Products that are to be computed, in lines of one buffer. Between them the tiles of sums are zero, as they are when they
/// are configured.
#[derive(Default)]
pub(super) struct Queue {
    parts: Vec<Part>,
    done: usize,
    /// Lines that there are.
    lines: usize,
}

/// The product of two tiles with two others.
struct Part {
    left: usize,
    right: usize,
    /// Whether they are those of the part before.
    loaded: [bool; 2],
    /// Where the sums are written, when it is the last one: those of each tile of columns.
    sums: Option<[usize; 2]>,
}

impl Queue {
    /// Begins anew, with products in so many lines.
    pub(super) fn clear(&mut self, lines: usize) {
        self.parts.clear();
        self.done = 0;
        self.lines = lines;
    }

    /// Adds a product of `parts` parts.
    ///
    /// # Panics
    /// When it is not within the lines.
    pub(super) fn push(&mut self, product: &Product, parts: usize) {
        let &Product {
            left,
            right,
            steps,
            sums,
            between,
        } = product;
        let length = steps * parts * STEP_LINES;
        assert!(
            [left + length, right + length, sums + between + STEP_LINES]
                .iter()
                .all(|&end| end <= self.lines)
        );
        let (&last, small) = ORDER[parts - 1].split_last().expect("a product");
        let mut before = None;
        let mut push = |step: usize, (one, other): (usize, usize)| {
            let place = |part| (step * parts + part) * STEP_LINES;
            let (left, right) = (left + place(one), right + place(other));
            let loaded = before
                .map(|(before_left, before_right)| [left == before_left, right == before_right]);
            before = Some((left, right));
            self.parts.push(Part {
                left,
                right,
                loaded: loaded.unwrap_or_default(),
                sums: None,
            });
        };
        for step in 0..steps {
            small.iter().for_each(|&parts| push(step, parts));
        }
        for step in 0..steps {
            push(step, last);
        }
        if let Some(part) = self.parts.last_mut() {
            part.sums = Some([sums, sums + between]);
        }
    }

    /// How many parts there are.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Computes a part, where there is one left.
    #[inline(always)]
    pub(super) fn advance(&mut self, _tiles: &Tiles, lines: &mut [Line]) -> bool {
        let Some(part) = self.parts.get(self.done) else {
            return false;
        };
        self.done += 1;
        assert!(self.lines <= lines.len());
        let lines = lines.as_mut_ptr();
        // SAFETY: the tiles are configured, and what is read and written is within the lines.
        unsafe {
            if !part.loaded[0] {
                load_left(lines.add(part.left));
            }
            if !part.loaded[1] {
                load_right(lines.add(part.right));
            }
            multiply();
            if let Some(sums) = part.sums {
                let [first, second] = sums.map(|sums| lines.add(sums));
                store(first, second);
                clear();
            }
        }
        true
    }

    /// Computes all that is left.
    pub(super) fn finish(&mut self, tiles: &Tiles, lines: &mut [Line]) {
        while self.advance(tiles, lines) {}
        self.clear(self.lines);
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
