//! The GPUs of this machine, and which stage goes to which.
//!
//! ```no_run
//! # use worldpm_ort_runtime as worldpm_ort;
//! use worldpm_ort::device::{gpus, place};
//!
//! let gpus = gpus()?;
//! let placement = place(&[70 << 30, 68 << 30], &gpus)?;
//! println!("{}", placement.reason);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod kernels;
mod nvml;
mod visible;
mod watch;

use std::{env, fmt};

use serde::Serialize;

pub use kernels::{NoKernels, check_kernels};
pub(crate) use watch::{MemoryWatch, PeakMemory};

/// An NVIDIA GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Its number for CUDA, as in `cuda:0`.
    pub device_id: u16,
    /// What its maker calls it.
    pub name: String,
    /// The name of this very GPU, `GPU-…`.
    pub uuid: String,
    /// All of its memory, in bytes.
    pub memory: u64,
    /// What is free of it, in bytes.
    pub free: u64,
    /// Compute capability, as in (9, 0).
    pub capability: (u16, u16),
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cuda:{} ({})", self.device_id, self.name)
    }
}

/// The driver and all GPUs of the machine, in the order of their PCI addresses, whether this process may use them or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Version of the driver.
    pub driver: String,
    /// The GPUs that answer.
    pub gpus: Vec<Gpu>,
    /// The numbers of those that are divided (MIG): CUDA shows parts of them.
    pub in_parts: Vec<u16>,
    /// The places of those that do not answer, and what the driver says of them.
    pub failed: Vec<(u32, String)>,
}

/// Why the GPUs are not known.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpusError {
    /// NVIDIA's management library, a part of the driver, is not there.
    #[error(
        "no NVIDIA driver was found ({0}); install it, or in a container run with the NVIDIA container toolkit \
         (--gpus all)"
    )]
    NoLibrary(String),
    /// The library is there, and its driver is not running or refuses.
    #[error(
        "the NVIDIA driver does not answer: {call}: {problem}; try nvidia-smi, which asks it the same"
    )]
    Driver {
        /// The function that failed.
        call: &'static str,
        /// What the library says.
        problem: String,
    },
    /// The environment names GPUs in a way that cannot be followed.
    #[error("CUDA_VISIBLE_DEVICES={value}: {problem}")]
    Visible {
        /// Its value.
        value: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A GPU does not answer, and it is not known how CUDA numbers the others then.
    #[error(
        "GPU {index} does not answer ({problem}), and how CUDA numbers the others then is not certain; see nvidia-smi, or \
         name the devices yourself (--device cuda:0)"
    )]
    Failed {
        /// Its place among the GPUs of the machine.
        index: u32,
        /// What the driver says.
        problem: String,
    },
    /// A GPU is divided, and CUDA shows a part of it.
    #[error(
        "{gpu} is divided (MIG): CUDA shows a part of it, and which one is not known here; name the devices yourself \
         (--device cuda:0)"
    )]
    InParts {
        /// The GPU.
        gpu: String,
    },
    /// CUDA numbers the GPUs in an order that only it knows.
    #[error(
        "the GPUs differ ({0}), and CUDA numbers them by speed; set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the devices \
         yourself"
    )]
    Order(String),
}

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
