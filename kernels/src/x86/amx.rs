//! Products on AMX tiles.

use std::arch::asm;

use super::{
    lines::Line,
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

/// Sums the products of a block of 32 rows with one of 32 tokens, over `steps` steps: with the first `$used` parts of the
/// tokens, of which there are `$skipped` more.
macro_rules! product {
    ($name:ident, $used:literal, $skipped:literal) => {
        /// # Safety
        /// `rows` and `tokens` are packed and of as many steps, and `sums` has four tiles.
        pub(crate) unsafe fn $name(
            _tiles: &Tiles,
            steps: usize,
            rows: *const Line,
            tokens: *const Line,
            sums: *mut Line,
        ) {
            if steps == 0 {
                return;
            }
            // SAFETY: reads what the caller promises, writes to `sums` alone. A thread's tiles belong to nobody but this
            // module, and they are configured while there is a `Tiles`.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "3:",
                    "tileloadd tmm4, [{rows} + {line}]",
                    "tileloadd tmm5, [{rows} + {line} + 1024]",
                    concat!(".rept ", $used),
                    "tileloadd tmm6, [{tokens} + {line}]",
                    "tileloadd tmm7, [{tokens} + {line} + 1024]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {tokens}, 2048",
                    ".endr",
                    concat!("add {tokens}, 2048*", $skipped),
                    "add {rows}, 2048",
                    "dec {steps}",
                    "jnz 3b",
                    "tilestored [{sums} + {line}], tmm0",
                    "tilestored [{sums} + {line} + 1024], tmm1",
                    "tilestored [{sums} + {line} + 2048], tmm2",
                    "tilestored [{sums} + {line} + 3072], tmm3",
                    steps = inout(reg) steps => _,
                    rows = inout(reg) rows => _,
                    tokens = inout(reg) tokens => _,
                    sums = in(reg) sums,
                    line = in(reg) 64usize,
                    options(nostack),
                );
            }
        }
    };
}

product!(one_of_one, "1", "0");
product!(one_of_two, "1", "1");
product!(two_of_two, "2", "0");
product!(two_of_three, "2", "1");
product!(three_of_three, "3", "0");
