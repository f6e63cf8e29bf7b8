//! A device, by the provider that runs stages on it.

use std::{fmt, str::FromStr};

use ort::{
    environment::Environment,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    session::IoBinding,
};
use worldpm_ort_bundle::Device;

use super::{CudaOptions, PluginOptions, ProviderError, TensorRtOptions, lost::device_lost};

/// A device that a stage runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// The CPU provider. It has no options of its own; threads are the scorer's.
    Cpu,
    /// The CUDA provider.
    Cuda(CudaOptions),
    /// The TensorRT provider, and CUDA for what it does not take.
    TensorRt(Box<TensorRtOptions>),
    /// A provider in a library of its own.
    Plugin(PluginOptions),
}

impl Provider {
    /// The kind of bundle that the provider is meant for.
    #[must_use]
    pub fn device(&self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda(_) | Self::TensorRt(_) | Self::Plugin(_) => Device::Cuda,
        }
    }

    /// Whether the provider may run bundles for `bundle`. What a plug-in provider runs is not known: it is asked.
    #[must_use]
    pub fn runs(&self, bundle: Device) -> bool {
        matches!(self, Self::Plugin(_)) || self.device() == bundle
    }

    /// Sets an option by ONNX Runtime's name for it. Returns whether the provider takes options of that name.
    ///
    /// # Errors
    /// [`ProviderError::Option`] when the value does not fit the option.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool, ProviderError> {
        match self {
            Self::Cpu => return Ok(false),
            Self::Cuda(_) if key.starts_with("trt_") => return Ok(false),
            Self::Cuda(options) => options.set(key, value)?,
            Self::TensorRt(options) => options.set(key, value)?,
            Self::Plugin(options) => {
                options.options.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(true)
    }

    /// The number of the GPU, for CUDA. What a plug-in provider runs on is not known.
    pub(crate) fn cuda_device(&self) -> Option<u16> {
        match self {
            Self::Cpu | Self::Plugin(_) => None,
            Self::Cuda(options) => Some(options.device_id),
            Self::TensorRt(options) => Some(options.cuda.device_id),
        }
    }

    /// Whether an error of ONNX Runtime means that the device can no longer be used by this process.
    pub(crate) fn is_lost(&self, problem: &str) -> bool {
        *self != Self::Cpu && device_lost(problem)
    }

    /// Binds an output to the memory of the device, where a later stage finds it without a copy. To the host's where the
    /// device has none of its own, or its provider does not report it.
    pub(crate) fn bind_output(
        &self,
        environment: &Environment,
        binding: &mut IoBinding,
        name: &str,
    ) -> ort::Result<()> {
        let device_id = match self {
            Self::Cpu => return bind_to_host(binding, name),
            Self::Plugin(options) => {
                return match options.bind_output(environment, binding, name)? {
                    true => Ok(()),
                    false => bind_to_host(binding, name),
                };
            }
            Self::Cuda(options) => options.device_id,
            Self::TensorRt(options) => options.cuda.device_id,
        };
        let device = AllocationDevice::CUDA;
        let id = i32::from(device_id);
        let memory = MemoryInfo::new(device, id, AllocatorType::Device, MemoryType::Default)?;
        binding.bind_output_to_device(name, &memory)
    }

    /// Waits until bound outputs are computed. A run of CUDA or TensorRT ends with that; one of a plug-in provider may have
    /// only queued the work. Not every plug-in provider waits when it is asked to (WebGPU 0.4.0 does not).
    pub(crate) fn wait_for_outputs(&self, binding: &IoBinding) -> ort::Result<()> {
        match self {
            Self::Plugin(_) => binding.synchronize_outputs(),
            Self::Cpu | Self::Cuda(_) | Self::TensorRt(_) => Ok(()),
        }
    }
}

/// Binds an output to memory of the host.
pub(crate) fn bind_to_host(binding: &mut IoBinding, name: &str) -> ort::Result<()> {
    let device = AllocationDevice::CPU;
    let memory = MemoryInfo::new(device, 0, AllocatorType::Device, MemoryType::Default)?;
    binding.bind_output_to_device(name, &memory)
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(options) => write!(f, "cuda:{}", options.device_id),
            Self::TensorRt(options) => write!(f, "tensorrt:{}", options.cuda.device_id),
            Self::Plugin(options) => options.fmt(f),
        }
    }
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(name: &str) -> Result<Self, ProviderError> {
        let unknown = || ProviderError::UnknownDevice(name.to_owned());
        let number = |text: &str| text.parse::<u16>().map_err(|_| unknown());
        let (kind, rest) = match name.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (name, None),
        };
        let id = || rest.map_or(Ok(0), number);
        match (kind, rest) {
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(CudaOptions::new(id()?))),
            ("tensorrt", _) => Ok(Self::TensorRt(Box::new(TensorRtOptions::new(id()?)))),
            ("plugin", Some(rest)) => {
                let (provider, id) = match rest.split_once(':') {
                    Some((provider, id)) => (provider, number(id)?),
                    None => (rest, 0),
                };
                PluginOptions::new(provider, id)
                    .map(Self::Plugin)
                    .map_err(|_| unknown())
            }
            _ => Err(unknown()),
        }
    }
}
