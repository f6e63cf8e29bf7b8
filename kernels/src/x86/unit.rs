//! Which unit for bfloat16 numbers the processor has.

use std::{
    arch::x86_64::{__cpuid, __cpuid_count, _xgetbv},
    sync::OnceLock,
};

/// What multiplies bfloat16 numbers. Whoever has one knows that the processor has it, and AVX-512 F, BW, DQ and BF16 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Tiles of 16 rows.
    Amx(Proof),
    /// Vectors of 512 bits.
    Avx512(Proof),
}

/// Nobody else can make a [`Unit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof(());

/// Linux: asks for permission to use a part of the processor's state. From `asm/prctl.h`.
const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
/// The state of tiles: `XFEATURE_XTILEDATA`, bit 18 of XCR0; bit 17 is that of their configuration.
const TILE_DATA: libc::c_long = 18;
const TILES: u64 = 3 << 17;
/// Bits of `cpuid` leaf 7, `edx`: `amx-bf16` and `amx-tile`.
const AMX_BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
/// Bit of `cpuid` leaf 1, `ecx`: the system has enabled `xgetbv`.
const OSXSAVE: u32 = 1 << 27;

impl Unit {
    /// Those of this processor that this process may use, the fastest first.
    pub(crate) fn all() -> Vec<Self> {
        static FOUND: OnceLock<Vec<Unit>> = OnceLock::new();
        FOUND
            .get_or_init(|| {
                let mut units = Vec::new();
                let vectors = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bf16");
                if vectors && amx() {
                    units.push(Self::Amx(Proof(())));
                }
                if vectors {
                    units.push(Self::Avx512(Proof(())));
                }
                units
            })
            .clone()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amx(_) => "amx_bf16",
            Self::Avx512(_) => "avx512_bf16",
        }
    }
}

/// Whether the processor has tiles and Linux lets this process use them.
fn amx() -> bool {
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let has = __cpuid_count(7, 0).edx & AMX_BF16_AND_TILE == AMX_BF16_AND_TILE;
    // SAFETY: OSXSAVE says that the instruction is there and allowed.
    has && unsafe { enabled() } & TILES == TILES && permitted()
}

#[target_feature(enable = "xsave")]
fn enabled() -> u64 {
    // SAFETY: register 0 is there wherever the instruction is.
    unsafe { _xgetbv(0) }
}

fn permitted() -> bool {
    // SAFETY: takes two numbers and touches no memory of ours. Threads that are started later inherit the permission, and
    // those that are there share it, since it is the process's.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}
