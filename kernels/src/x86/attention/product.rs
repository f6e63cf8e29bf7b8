//! Products of bfloat16 parts on AMX tiles.

use std::arch::asm;

use crate::x86::{
    amx::Tiles,
    lines::Line,
    pack::{STEP_LINES, TILE},
};

/// `sums[row, column] = left[row] . right[column]` for two tiles of rows and two of columns, packed in steps of `PARTS`
/// parts. The second tile's columns begin `between` lines behind the first's, as tiles of rows do beside each other.
///
/// Parts whose numbers together are below `PARTS` are multiplied with each other. The products of the first
/// parts are summed last: what the others are rounded to is far below the sum's last bit.
pub(super) fn product<const PARTS: usize>(
    _tiles: &Tiles,
    left: &[Line],
    right: &[Line],
    sums: &mut [Line],
    between: usize,
) {
    assert!(left.len() == right.len() && sums.len() >= between + 2 * TILE);
    /// Each has one part in common with the next.
    const THREE: [(usize, usize); 5] = [(2, 0), (1, 0), (1, 1), (0, 1), (0, 2)];
    const TWO: [(usize, usize); 2] = [(1, 0), (0, 1)];
    let small: &[(usize, usize)] = match PARTS {
        3 => &THREE,
        2 => &TWO,
        _ => &[],
    };
    // SAFETY: the tiles are configured and nobody else's, since nothing but this module and the others that take
    // `Tiles` uses them. What is read and written is within the slices.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack)
        );
        for order in [small, &[(0, 0)]] {
            let lines = PARTS * STEP_LINES;
            for (left, right) in left.chunks_exact(lines).zip(right.chunks_exact(lines)) {
                let mut loaded = (PARTS, PARTS);
                for &(one, other) in order {
                    if one != loaded.0 {
                        load_left(left[one * STEP_LINES..].as_ptr());
                    }
                    if other != loaded.1 {
                        load_right(right[other * STEP_LINES..].as_ptr());
                    }
                    multiply();
                    loaded = (one, other);
                }
            }
        }
        asm!(
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{second} + {line}], tmm1",
            "tilestored [{sums} + {line} + 1024], tmm2",
            "tilestored [{second} + {line} + 1024], tmm3",
            sums = in(reg) sums.as_mut_ptr(),
            second = in(reg) sums[between..].as_mut_ptr(),
            line = in(reg) 64usize,
            options(nostack),
        );
    }
}

/// # Safety
/// The tiles are configured, here and below, and there are two at `from`.
#[inline(always)]
unsafe fn load_left(from: *const Line) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tileloadd tmm4, [{from} + {line}]",
            "tileloadd tmm5, [{from} + {line} + 1024]",
            from = in(reg) from,
            line = in(reg) 64usize,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
/// As above.
#[inline(always)]
unsafe fn load_right(from: *const Line) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tileloadd tmm6, [{from} + {line}]",
            "tileloadd tmm7, [{from} + {line} + 1024]",
            from = in(reg) from,
            line = in(reg) 64usize,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
/// As above. Not `nomem`, so that it stays in its place between the others.
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
