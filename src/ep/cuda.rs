//! The CUDA provider.

use ort::ep::{self, ArenaExtendStrategy, ExecutionProviderDispatch, cuda::AttentionBackend};

/// Options of the CUDA provider. Not yet run on a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CudaOptions {
    /// CUDA device number. Default 0.
    pub device_id: u16,
}

impl CudaOptions {
    /// Defaults for the device `device_id`.
    #[must_use]
    pub fn new(device_id: u16) -> Self {
        Self { device_id }
    }

    /// Flash attention is pinned: the automatic choice on newer GPUs is cuDNN's, which keeps a plan for
    /// every shape it meets, and packs differ in shape. The arena grows by what is asked for, since
    /// doubling wastes memory under changing shapes. TF32 stays off so that the fp32 head is exact.
    pub(super) fn dispatch(&self) -> ExecutionProviderDispatch {
        ep::CUDA::default()
            .with_device_id(i32::from(self.device_id))
            .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
            .with_attention_backend(AttentionBackend::FLASH_ATTENTION)
            .with_tf32(false)
            .build()
            .error_on_failure()
    }
}

/// Errors of the CUDA runtime after which every later call of the process fails too: see `cudaError_t` in the CUDA
/// Runtime API, whose words for them are "the process must be terminated and relaunched" (or "uncorrectable" for 214).
/// Running out of memory (2) is not one.
const STICKY: [u32; 9] = [214, 700, 701, 702, 710, 714, 715, 718, 719];

/// Whether an error's text tells that the device is lost. ONNX Runtime writes `CUDA failure 700: …`.
pub(super) fn is_lost(problem: &str) -> bool {
    problem
        .split("CUDA failure ")
        .skip(1)
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .any(|code: u32| STICKY.contains(&code))
}
