//! A GPU, and why the GPUs may not be known.

use std::fmt;

use serde::Serialize;

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
