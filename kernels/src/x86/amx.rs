//! Products on AMX tiles.

use std::arch::asm;

use super::{
    lines::Line,
    pack::{STEP_LINES, SUMS},
    unit::{Proof, Unit},
};

/// The configuration of all eight tiles: 16 lines of 64 bytes. From Intel's manual, `LDTILECFG`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    line_bytes: [u16; 16],
    lines: [u8; 16],
}

static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    line_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    lines: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Tiles that this thread has configured. They are released when it goes.
pub(crate) struct Tiles(());

impl Tiles {
    /// Configures the tiles of this thread, when products are computed on them.
    pub(crate) fn configure(unit: Unit) -> Option<Self> {
        match unit {
            Unit::Avx512(_) => None,
            Unit::Amx(proof) => Some(Self::of(proof)),
        }
    }

    fn of(_proof: Proof) -> Self {
        // SAFETY: the processor has tiles, and this process may use them. Nothing else of the program does.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly));
        }
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: they are configured. What is in them is not wanted any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

impl Tiles {
    /// Sums the products of a block of 32 rows with the first `USED` of the `PARTS` of one of 32 tokens, over the steps that
    /// both have, from zero or from what is in `sums`. `meanwhile` is called at each step: the processor does it beside the
    /// products, which keep the tiles busy and nothing else.
    pub(crate) fn product<const USED: usize, const PARTS: usize>(
        &self,
        rows: &[Line],
        tokens: &[Line],
        begin: bool,
        sums: &mut [Line],
        mut meanwhile: impl FnMut(),
    ) {
        const { assert!(USED <= PARTS) };
        let rows = rows.chunks_exact(STEP_LINES);
        let tokens = tokens.chunks_exact(PARTS * STEP_LINES);
        assert!(sums.len() == SUMS && rows.len() == tokens.len());
        // SAFETY: reads four tiles of sums at most. A thread's tiles belong to nobody but this module, and they are
        // configured while there is a `Tiles`.
        unsafe {
            if begin {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    options(nostack, nomem, preserves_flags),
                );
            } else {
                asm!(
                    "tileloadd tmm0, [{sums} + {line}]",
                    "tileloadd tmm1, [{sums} + {line} + 1024]",
                    "tileloadd tmm2, [{sums} + {line} + 2048]",
                    "tileloadd tmm3, [{sums} + {line} + 3072]",
                    sums = in(reg) sums.as_ptr(),
                    line = in(reg) size_of::<Line>(),
                    options(nostack, readonly, preserves_flags),
                );
            }
        }
        for (rows, tokens) in rows.zip(tokens) {
            // SAFETY: reads two tiles of rows.
            unsafe {
                asm!(
                    "tileloadd tmm4, [{rows} + {line}]",
                    "tileloadd tmm5, [{rows} + {line} + 1024]",
                    rows = in(reg) rows.as_ptr(),
                    line = in(reg) size_of::<Line>(),
                    options(nostack, readonly, preserves_flags),
                );
            }
            for tokens in tokens.chunks_exact(STEP_LINES).take(USED) {
                // SAFETY: reads two tiles of tokens.
                unsafe {
                    asm!(
                        "tileloadd tmm6, [{tokens} + {line}]",
                        "tileloadd tmm7, [{tokens} + {line} + 1024]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tdpbf16ps tmm1, tmm4, tmm7",
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7",
                        tokens = in(reg) tokens.as_ptr(),
                        line = in(reg) size_of::<Line>(),
                        options(nostack, readonly, preserves_flags),
                    );
                }
            }
            meanwhile();
        }
        // SAFETY: writes four tiles of sums.
        unsafe {
            asm!(
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 1024], tmm1",
                "tilestored [{sums} + {line} + 2048], tmm2",
                "tilestored [{sums} + {line} + 3072], tmm3",
                sums = in(reg) sums.as_mut_ptr(),
                line = in(reg) size_of::<Line>(),
                options(nostack, preserves_flags),
            );
        }
    }
}
