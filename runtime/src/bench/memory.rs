//! Memory of the host and of the GPUs while a benchmark runs.

use worldpm_ort_bundle::Device;

use super::{DeviceMemoryReport, MemoryReport, ProcessMemory};
use crate::{
    ep::Provider,
    host::gpu::{MemoryWatch, PeakMemory, gpus},
};

/// What is watched from before the model is loaded.
pub(super) struct Memory {
    /// `None` where there are no GPUs, or their driver does not report it.
    gpus: Option<MemoryWatch>,
}

impl Memory {
    /// Begins to watch the GPUs that this process may use, for a bundle that is for GPUs.
    pub(super) fn watch(bundle: Device) -> Self {
        let gpus = match bundle {
            Device::Cpu => None,
            Device::Cuda => gpus()
                .and_then(|gpus| MemoryWatch::start(&gpus))
                .inspect_err(|unknown| {
                    tracing::info!("the memory of the GPUs will not be reported: {unknown}");
                })
                .ok(),
        };
        Self { gpus }
    }

    /// The most that was in use so far; of the GPUs, those of `providers`.
    pub(super) fn report(&self, providers: &[Vec<Provider>]) -> MemoryReport {
        let seen = self.gpus.as_ref().map(MemoryWatch::so_far);
        MemoryReport {
            host_peak: ProcessMemory::read().map(|memory| memory.peak),
            devices: devices(&seen.unwrap_or_default(), providers),
        }
    }
}

fn devices(seen: &[PeakMemory], providers: &[Vec<Provider>]) -> Vec<DeviceMemoryReport> {
    let used = |gpu: &&PeakMemory| {
        let mut providers = providers.iter().flatten();
        providers.any(|provider| provider.cuda_device() == Some(gpu.device_id))
    };
    let report = |gpu: &PeakMemory| DeviceMemoryReport {
        device: format!("cuda:{}", gpu.device_id),
        before: gpu.before,
        peak: gpu.peak,
    };
    seen.iter().filter(used).map(report).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn gpus_that_the_model_is_on() {
        let seen = [0, 1, 2, 3].map(|device_id| PeakMemory {
            device_id,
            before: 10,
            peak: 20 + u64::from(device_id),
        });
        let peaks = |copies: &[&[&str]]| -> Vec<(String, u64)> {
            let provider = |name: &&str| name.parse().unwrap();
            let copy = |copy: &&[&str]| copy.iter().map(provider).collect();
            let providers: Vec<Vec<Provider>> = copies.iter().map(copy).collect();
            let reports = devices(&seen, &providers).into_iter();
            reports.map(|gpu| (gpu.device, gpu.peak)).collect()
        };
        let two = peaks(&[&["cuda:1", "cuda:1"], &["tensorrt:3", "cuda:1"]]);
        assert_eq!(two, [("cuda:1".into(), 21), ("cuda:3".into(), 23)]);
        assert_eq!(peaks(&[&["cpu"], &["plugin:Some:2"]]), []);
        assert_eq!(peaks(&[&["cuda:7"]]), []);
    }
}
