//! What well-known NVIDIA GPUs have, from their data sheets.

use std::{fmt, str::FromStr};

use serde::Serialize;
use worldpm_ort_bundle::Bytes;

/// A GPU, as its maker describes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gpu {
    /// Short name.
    pub name: &'static str,
    /// Memory in bytes: the data sheet's GB, of 10^9 bytes. What a process can use differs a little.
    pub memory: u64,
    /// Bandwidth of the memory in bytes a second.
    pub bandwidth: f64,
    /// Multiplications and additions a second in bfloat16 and float16 (tensor cores, 32-bit sums), without sparsity.
    pub half_flops: f64,
    /// The same of 8-bit integers.
    pub int8_ops: f64,
    /// Where the figures are from.
    pub source: &'static str,
    /// What else has to be known before it is used.
    pub note: Option<&'static str>,
}

const BLACKWELL_NOTE: &str =
    "ONNX Runtime 1.31's CUDA packages for x64 have no kernels for this GPU (sm_100)";

const fn gpu(
    name: &'static str,
    gigabytes: u64,
    gigabytes_per_second: f64,
    half_tflops: f64,
    int8_tops: f64,
    source: &'static str,
) -> Gpu {
    Gpu {
        name,
        memory: gigabytes * 1_000_000_000,
        bandwidth: gigabytes_per_second * 1e9,
        half_flops: half_tflops * 1e12,
        int8_ops: int8_tops * 1e12,
        source,
        note: None,
    }
}

/// The GPUs that are known by name. Where a data sheet gives a rate with sparsity only, it is halved.
pub const GPUS: [Gpu; 16] = [
    gpu("a10", 24, 600.0, 125.0, 250.0, "NVIDIA A10 data sheet"),
    gpu("a30", 24, 933.0, 165.0, 330.0, "NVIDIA A30 data sheet"),
    gpu("a40", 48, 696.0, 149.7, 299.3, "NVIDIA A40 data sheet"),
    gpu(
        "a100-40gb",
        40,
        1555.0,
        312.0,
        624.0,
        "NVIDIA A100 data sheet, 40GB",
    ),
    gpu(
        "a100-80gb",
        80,
        2039.0,
        312.0,
        624.0,
        "NVIDIA A100 data sheet, 80GB SXM",
    ),
    gpu(
        "a100-80gb-pcie",
        80,
        1935.0,
        312.0,
        624.0,
        "NVIDIA A100 data sheet, 80GB PCIe",
    ),
    gpu("l4", 24, 300.0, 121.0, 242.5, "NVIDIA L4 data sheet"),
    gpu("l40s", 48, 864.0, 362.05, 733.0, "NVIDIA L40S data sheet"),
    gpu(
        "h100",
        80,
        3350.0,
        989.5,
        1979.0,
        "NVIDIA H100 data sheet, SXM",
    ),
    gpu(
        "h100-pcie",
        80,
        2000.0,
        756.5,
        1513.0,
        "NVIDIA H100 data sheet, PCIe",
    ),
    gpu(
        "h100-nvl",
        94,
        3900.0,
        835.5,
        1670.5,
        "NVIDIA H100 data sheet, NVL",
    ),
    gpu(
        "h200",
        141,
        4800.0,
        989.5,
        1979.0,
        "NVIDIA H200 data sheet, SXM",
    ),
    Gpu {
        note: Some(BLACKWELL_NOTE),
        ..gpu(
            "b200",
            180,
            8000.0,
            2250.0,
            4500.0,
            "NVIDIA Blackwell data sheet, HGX B200",
        )
    },
    gpu(
        "rtx-4090",
        24,
        1008.0,
        165.2,
        660.6,
        "NVIDIA Ada GPU architecture white paper",
    ),
    gpu(
        "rtx-6000-ada",
        48,
        960.0,
        364.25,
        728.5,
        "NVIDIA RTX 6000 Ada data sheet and white paper",
    ),
    gpu(
        "rtx-pro-6000",
        96,
        1792.0,
        503.8,
        1007.6,
        "NVIDIA RTX Blackwell PRO architecture white paper",
    ),
];

impl Gpu {
    /// The GPU of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        GPUS.into_iter()
            .find(|gpu| gpu.name.eq_ignore_ascii_case(name))
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        Bytes(self.memory)
    }
}

/// One kind of GPU and how many: `h100`, or `4xh100`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GpuCount {
    /// The GPU.
    pub gpu: Gpu,
    /// How many; `None` when that is not said.
    pub count: Option<usize>,
}

/// Text that names no GPU.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{given}`: {problem}")]
pub struct GpuError {
    given: String,
    problem: String,
}

/// More than this many of a kind make no sense.
const MOST: usize = 4096;

impl FromStr for GpuCount {
    type Err = GpuError;

    fn from_str(given: &str) -> Result<Self, GpuError> {
        let fail = |problem: String| GpuError {
            given: given.to_owned(),
            problem,
        };
        let digits = given.bytes().take_while(u8::is_ascii_digit).count();
        let (count, name) = match (given.get(..digits), given.get(digits..)) {
            (Some(count), Some(rest)) if digits > 0 && rest.starts_with(['x', 'X']) => {
                let count = count
                    .parse()
                    .ok()
                    .filter(|count| (1..=MOST).contains(count));
                let count = count.ok_or_else(|| fail(format!("give 1 to {MOST} of a kind")))?;
                (Some(count), &rest[1..])
            }
            _ => (None, given),
        };
        let gpu = Gpu::named(name).ok_or_else(|| {
            let known: Vec<&str> = GPUS.iter().map(|gpu| gpu.name).collect();
            fail(format!(
                "no GPU of this name is known; give its memory with --device-memory, or one of {}",
                known.join(", ")
            ))
        })?;
        Ok(Self { gpu, count })
    }
}

impl fmt::Display for GpuCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(count) => write!(f, "{count}x{}", self.gpu.name),
            None => f.write_str(self.gpu.name),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts() {
        let four: GpuCount = "4xH100".parse().unwrap();
        assert_eq!((four.gpu.name, four.count), ("h100", Some(4)));
        assert_eq!(four.gpu.memory().0, 80_000_000_000);
        let any: GpuCount = "l40s".parse().unwrap();
        assert_eq!((any.gpu.name, any.count), ("l40s", None));
        for gpu in GPUS {
            let shown = GpuCount {
                gpu,
                count: Some(2),
            };
            assert_eq!(shown.to_string().parse(), Ok(shown));
        }
    }

    #[test]
    fn what_is_no_gpu() {
        for (text, problem) in [
            ("h1000", "no GPU of this name is known; give its memory"),
            ("", "no GPU of this name"),
            ("0xh100", "give 1 to 4096"),
            ("99999999999999999999xh100", "give 1 to 4096"),
            ("4h100", "no GPU of this name"),
            ("4x", "no GPU of this name"),
            ("é4", "no GPU of this name"),
        ] {
            let error = text.parse::<GpuCount>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn rates_are_dense() {
        for gpu in GPUS {
            // Tensor cores of every generation here do twice as many 8-bit operations, four times on GeForce cards, whose
            // 16-bit rate with 32-bit sums is halved.
            let ratio = gpu.int8_ops / gpu.half_flops;
            let expected = if gpu.name == "rtx-4090" { 4.0 } else { 2.0 };
            assert!((ratio - expected).abs() < 0.03, "{}: {ratio}", gpu.name);
        }
    }
}
