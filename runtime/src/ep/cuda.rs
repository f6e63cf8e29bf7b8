//! The CUDA provider.

use std::collections::BTreeMap;

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};

use super::{
    ProviderError,
    values::{number, switch},
};

/// Options of the CUDA provider. Not yet run on a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CudaOptions {
    /// CUDA device number. Default 0.
    pub device_id: u16,
    /// Most bytes of the memory arena (`gpu_mem_limit`). Default: no limit.
    ///
    /// It bounds what weights and activations take. Workspaces of cuBLAS and the CUDA context itself, some hundred
    /// megabytes, come on top. A pack that does not fit is an error, and others go on.
    pub memory_limit: Option<u64>,
    /// Kernel of attention (`sdpa_kernel`). Default [`AttentionKernel::Fused`].
    pub attention: AttentionKernel,
    /// How the arena grows (`arena_extend_strategy`). Default [`ArenaGrowth::AsRequested`].
    pub arena: ArenaGrowth,
    /// Whether products of 32-bit floats may round their operands to TF32, 10 bits of mantissa (`use_tf32`). Default
    /// `false`: the reward head is computed in 32-bit floats to be exact, and nothing else in a 16-bit bundle is. ONNX
    /// Runtime's own default is `true`.
    pub tf32: bool,
    /// Threads that read weight files straight into pinned memory, 0 to 64 (`external_data_loader_reading_threads`).
    /// Default: the library's choice, 4 in ONNX Runtime 1.31; older libraries do not know the option.
    ///
    /// 0 maps files into memory and copies tensor by tensor, several times slower where storage is fast. Otherwise a
    /// session keeps 128 MiB of pinned host memory.
    pub reading_threads: Option<u8>,
    /// Options that are passed on unchecked, by ONNX Runtime's names.
    pub other: BTreeMap<String, String>,
}

/// Which kernel computes attention on CUDA. What the chosen one cannot compute is left to the unfused kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttentionKernel {
    /// Flash attention where it runs, else the memory-efficient kernel: flash attention needs a GPU of compute capability
    /// 8.0, and the library has kernels for 7.5 too. The default, because the automatic choice on newer GPUs is cuDNN's
    /// kernel, which keeps a plan for every shape that it meets, and packs differ in shape.
    #[default]
    Fused,
    /// Flash attention alone, on GPUs of compute capability 8.0 and newer; on others attention is unfused.
    Flash,
    /// The memory-efficient kernel alone.
    MemoryEfficient,
    /// cuDNN's kernel.
    Cudnn,
    /// No fused kernel: memory grows with the square of a row's length.
    Unfused,
    /// ONNX Runtime's choice.
    Automatic,
    /// Any of several, as the sum of ONNX Runtime's bits.
    Bits(u32),
}

impl AttentionKernel {
    /// The bits of `AttentionBackend` in ONNX Runtime (`contrib_ops/cpu/bert/attention_common.h`). Any that are set turn off
    /// the kernels whose bits are not (`contrib_ops/cuda/bert/attention_kernel_options.cc`), but for the unfused ones.
    fn bits(self) -> u32 {
        match self {
            Self::Automatic => 0,
            Self::Flash => 1,
            Self::MemoryEfficient => 2,
            Self::Fused => 3,
            Self::Cudnn => 8,
            Self::Unfused => 16,
            Self::Bits(bits) => bits,
        }
    }

    fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Self::Automatic,
            1 => Self::Flash,
            2 => Self::MemoryEfficient,
            3 => Self::Fused,
            8 => Self::Cudnn,
            16 => Self::Unfused,
            bits => Self::Bits(bits),
        }
    }
}

/// How the arena of device memory grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArenaGrowth {
    /// By what is asked for. Packs differ in shape, and doubling would waste memory that weights need. Costs more calls
    /// of `cudaMalloc` while the first packs run.
    #[default]
    AsRequested,
    /// By powers of two: fewer calls, and up to twice the memory. ONNX Runtime's default.
    PowersOfTwo,
}

impl ArenaGrowth {
    const ALL: [(Self, &'static str); 2] = [
        (Self::AsRequested, "kSameAsRequested"),
        (Self::PowersOfTwo, "kNextPowerOfTwo"),
    ];
}

impl CudaOptions {
    /// Defaults for the device `device_id`.
    #[must_use]
    pub fn new(device_id: u16) -> Self {
        Self {
            device_id,
            ..Self::default()
        }
    }

    /// Sets an option by ONNX Runtime's name for it.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), ProviderError> {
        let refuse = |problem: &str| Err(ProviderError::option(key, problem));
        match key {
            "gpu_mem_limit" => self.memory_limit = Some(number(key, value, 1, u64::MAX)?),
            "sdpa_kernel" => {
                let bits = number(key, value, 0, u64::from(u16::MAX))?;
                self.attention = AttentionKernel::from_bits(u32::try_from(bits).unwrap_or(0));
            }
            "arena_extend_strategy" => {
                let known = ArenaGrowth::ALL.iter().find(|(_, name)| *name == value);
                match known {
                    Some((growth, _)) => self.arena = *growth,
                    None => return refuse("give kSameAsRequested or kNextPowerOfTwo"),
                }
            }
            "use_tf32" => self.tf32 = switch(key, value)?,
            "external_data_loader_reading_threads" => {
                self.reading_threads = u8::try_from(number(key, value, 0, 64)?).ok();
            }
            "device_id" => return refuse("the device is named by --device cuda:N"),
            "enable_cuda_graph" => {
                return refuse("a CUDA graph replays one shape, and packs differ in shape");
            }
            "user_compute_stream"
            | "has_user_compute_stream"
            | "gpu_external_alloc"
            | "gpu_external_free"
            | "gpu_external_empty_cache" => {
                return refuse("it is an address in memory, which cannot be given as text");
            }
            _ => {
                self.other.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    /// What is passed to ONNX Runtime, by its names.
    pub(super) fn to_map(&self) -> BTreeMap<String, String> {
        let growth = ArenaGrowth::ALL
            .iter()
            .find(|(growth, _)| *growth == self.arena)
            .map_or("", |(_, name)| name);
        let mut map = self.other.clone();
        let mut put = |key: &str, value: String| map.insert(key.to_owned(), value);
        put("device_id", self.device_id.to_string());
        put("arena_extend_strategy", growth.to_owned());
        put("sdpa_kernel", self.attention.bits().to_string());
        put("use_tf32", u8::from(self.tf32).to_string());
        if let Some(bytes) = self.memory_limit {
            put("gpu_mem_limit", bytes.to_string());
        }
        if let Some(threads) = self.reading_threads {
            put("external_data_loader_reading_threads", threads.to_string());
        }
        map
    }

    pub(super) fn dispatch(&self) -> ExecutionProviderDispatch {
        self.to_map()
            .into_iter()
            .fold(ep::CUDA::default(), |provider, (key, value)| {
                provider.with_arbitrary_config(key, value)
            })
            .build()
            .error_on_failure()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let map = CudaOptions::new(3).to_map();
        let passed: Vec<(&str, &str)> = map.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            passed,
            [
                ("arena_extend_strategy", "kSameAsRequested"),
                ("device_id", "3"),
                ("sdpa_kernel", "3"),
                ("use_tf32", "0"),
            ]
        );
    }

    #[test]
    fn options_are_told_as_given() {
        for (key, value) in [
            ("gpu_mem_limit", "30000000000"),
            ("sdpa_kernel", "0"),
            ("sdpa_kernel", "8"),
            ("sdpa_kernel", "1"),
            ("sdpa_kernel", "3"),
            ("sdpa_kernel", "18"),
            ("arena_extend_strategy", "kNextPowerOfTwo"),
            ("use_tf32", "1"),
            ("external_data_loader_reading_threads", "0"),
            ("external_data_loader_reading_threads", "64"),
            ("prefer_nhwc", "1"),
        ] {
            let mut options = CudaOptions::default();
            options.set(key, value).unwrap();
            assert_eq!(options.to_map()[key], value);
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for (key, value, says) in [
            ("gpu_mem_limit", "0", "1 or more"),
            ("gpu_mem_limit", "30GiB", "whole number"),
            ("sdpa_kernel", "flash", "whole number"),
            ("arena_extend_strategy", "double", "kSameAsRequested"),
            ("use_tf32", "yes", "1 or 0"),
            ("external_data_loader_reading_threads", "65", "0 to 64"),
            ("device_id", "1", "--device"),
            ("enable_cuda_graph", "1", "shape"),
            ("user_compute_stream", "140", "address"),
            ("gpu_external_alloc", "140", "address"),
        ] {
            let error = CudaOptions::default().set(key, value).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(key) && error.contains(says),
                "{key}={value}: {error}"
            );
        }
    }
}
