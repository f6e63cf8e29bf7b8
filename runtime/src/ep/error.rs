//! Why a device cannot be used.

use std::path::PathBuf;

use worldpm_ort_bundle::Device;

use super::{lost::device_lost, out_of_memory::out_of_memory};
use crate::error::ErrorKind;

/// A device that cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderError {
    /// Not the name of a device.
    #[error(
        "'{0}' is no device; give cpu, cuda:N, tensorrt:N, plugin:PROVIDER:N (a list with commas for several) or auto"
    )]
    UnknownDevice(String),
    /// A list without devices, or one that mixes CPU and GPUs.
    #[error(
        "the devices '{0}' do not go together; give GPUs only, or cpu as often as its cores are to be divided"
    )]
    Mixed(String),
    /// More copies of the model than devices.
    #[error(
        "{replicas} copies of the model need as many devices, and there are {devices}; list more with --device"
    )]
    TooFewDevices {
        /// Copies asked for.
        replicas: usize,
        /// Devices of the list.
        devices: usize,
    },
    /// The bundle was exported for another kind of device.
    #[error(
        "the bundle was exported for {bundle} and cannot run on {device}; \
         export the checkpoint again with --device {wanted}"
    )]
    WrongBundle {
        /// What the bundle is for.
        bundle: Device,
        /// The device asked for.
        device: String,
        /// The `--device` that an export for it needs.
        wanted: Device,
    },
    /// The bundle's graphs or the place of its weights do not suit the provider.
    #[error("{device} cannot run this bundle: {problem}; export the checkpoint again with {flags}")]
    Export {
        /// The device asked for.
        device: String,
        /// What does not suit.
        problem: String,
        /// What an export that suits is made with.
        flags: &'static str,
    },
    /// An option of a provider is wrong, or belongs to no device in use.
    #[error("provider option `{option}`: {problem}")]
    Option {
        /// The option's key, or what was given in place of one.
        option: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The provider cannot be used on this machine.
    #[error("{device} cannot be used with {}: {problem}. {remedy}", library.display())]
    Unusable {
        /// The device asked for.
        device: String,
        /// ONNX Runtime's library.
        library: PathBuf,
        /// What is missing.
        problem: String,
        /// What to install or to change.
        remedy: String,
    },
    /// A folder or file of the provider's own cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// ONNX Runtime refused for a reason that is not known here.
    #[error("{0}")]
    Runtime(String),
}

impl ProviderError {
    pub(super) fn option(option: &str, problem: impl Into<String>) -> Self {
        Self::Option {
            option: option.to_owned(),
            problem: problem.into(),
        }
    }
}

impl ProviderError {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unusable { problem, .. } | Self::Runtime(problem) if out_of_memory(problem) => {
                ErrorKind::OutOfMemory
            }
            Self::Runtime(problem) if device_lost(problem) => ErrorKind::DeviceLost,
            Self::Runtime(_) => ErrorKind::Internal,
            Self::File { .. } => ErrorKind::Unavailable,
            Self::UnknownDevice(_)
            | Self::Mixed(_)
            | Self::TooFewDevices { .. }
            | Self::WrongBundle { .. }
            | Self::Export { .. }
            | Self::Option { .. }
            | Self::Unusable { .. } => ErrorKind::BadOptions,
        }
    }
}
