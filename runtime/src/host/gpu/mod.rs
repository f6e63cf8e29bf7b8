//! The GPUs of this machine.

mod kernels;
mod nvml;
mod types;
mod visible;
mod watch;

use std::env;

pub use kernels::{NoKernels, check_kernels};
pub use types::{Gpu, GpusError, Installed};
pub(crate) use watch::{MemoryWatch, PeakMemory};

/// The driver and all GPUs of the machine.
///
/// # Errors
/// [`GpusError::NoLibrary`] and [`GpusError::Driver`] where there is no driver that works.
pub fn installed() -> Result<Installed, GpusError> {
    nvml::Nvml::open(nvml::LIBRARY)?.installed()
}

/// The GPUs that this process may use, by their numbers for CUDA. `CUDA_VISIBLE_DEVICES` is followed.
///
/// # Errors
/// As [`installed`]; [`GpusError::Visible`] for a value of `CUDA_VISIBLE_DEVICES` that cannot be followed,
/// [`GpusError::Order`] when GPUs of several kinds are numbered in an order that only CUDA knows, [`GpusError::Failed`] when
/// one does not answer, and [`GpusError::InParts`] when one is divided.
pub fn gpus() -> Result<Vec<Gpu>, GpusError> {
    let value = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let visible = value("CUDA_VISIBLE_DEVICES");
    let order = value("CUDA_DEVICE_ORDER");
    visible::select(&installed()?, visible.as_deref(), order.as_deref())
}
