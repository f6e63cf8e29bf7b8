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
