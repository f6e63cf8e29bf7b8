//! Execution providers: which device a stage runs on, and how ONNX Runtime is told.
//!
//! A provider that is asked for and cannot be used is an error. ONNX Runtime would otherwise run on the
//! CPU without a word.

mod cuda;

use std::{fmt, str::FromStr};

use ort::ep::ExecutionProviderDispatch;
use worldpm_ort_export::Device;

pub use cuda::CudaOptions;

/// A device that a stage runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// The CPU provider.
    Cpu,
    /// The CUDA provider.
    Cuda(CudaOptions),
}

/// The devices of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// The kind of device that the bundle was exported for; of GPUs, the first.
    #[default]
    Auto,
    /// These, in order. Stages are divided among them in runs.
    List(Vec<Provider>),
}

/// A device that cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderError {
    /// Not the name of a device.
    #[error("'{0}' is no device; give cpu, cuda:N (a list with commas for several) or auto")]
    UnknownDevice(String),
    /// A list without devices, or one that mixes CPU and GPUs.
    #[error("the devices '{0}' do not go together; give one cpu, or GPUs only")]
    Mixed(String),
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
}

impl Provider {
    /// The kind of bundle that the provider runs.
    #[must_use]
    pub fn device(&self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda(_) => Device::Cuda,
        }
    }

    /// What ONNX Runtime is told; `None` for its built-in CPU provider.
    pub(crate) fn dispatch(&self) -> Option<ExecutionProviderDispatch> {
        match self {
            Self::Cpu => None,
            Self::Cuda(options) => Some(options.dispatch()),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(options) => write!(f, "cuda:{}", options.device_id),
        }
    }
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(name: &str) -> Result<Self, ProviderError> {
        let unknown = || ProviderError::UnknownDevice(name.to_owned());
        match name.split_once(':') {
            None if name == "cpu" => Ok(Self::Cpu),
            None if name == "cuda" => Ok(Self::Cuda(CudaOptions::default())),
            Some(("cuda", id)) => {
                let device_id = id.parse::<u16>().map_err(|_| unknown())?;
                Ok(Self::Cuda(CudaOptions::new(device_id)))
            }
            _ => Err(unknown()),
        }
    }
}

impl FromStr for Devices {
    type Err = ProviderError;

    fn from_str(names: &str) -> Result<Self, ProviderError> {
        if names == "auto" {
            return Ok(Self::Auto);
        }
        let list = names
            .split(',')
            .map(|name| name.trim().parse())
            .collect::<Result<Vec<Provider>, _>>()?;
        let on_cpu = list.iter().filter(|p| p.device() == Device::Cpu).count();
        if on_cpu > 0 && list.len() > 1 {
            return Err(ProviderError::Mixed(names.to_owned()));
        }
        Ok(Self::List(list))
    }
}

impl Devices {
    /// The device of each of `stages` stages of a bundle exported for `bundle`.
    ///
    /// # Errors
    /// [`ProviderError::WrongBundle`] when a device of the list does not run such bundles.
    pub fn assign(&self, bundle: Device, stages: usize) -> Result<Vec<Provider>, ProviderError> {
        let default = match bundle {
            Device::Cpu => [Provider::Cpu],
            Device::Cuda => [Provider::Cuda(CudaOptions::default())],
        };
        let list: &[Provider] = match self {
            Self::List(list) if !list.is_empty() => list,
            Self::List(_) | Self::Auto => &default,
        };
        if let Some(wrong) = list.iter().find(|provider| provider.device() != bundle) {
            return Err(ProviderError::WrongBundle {
                bundle,
                device: wrong.to_string(),
                wanted: wrong.device(),
            });
        }
        Ok((0..stages)
            .map(|stage| list[stage * list.len() / stages].clone())
            .collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cuda(id: u16) -> Provider {
        Provider::Cuda(CudaOptions::new(id))
    }

    #[test]
    fn device_lists() {
        let cases = [
            ("auto", Ok(Devices::Auto)),
            ("cpu", Ok(Devices::List(vec![Provider::Cpu]))),
            ("cuda", Ok(Devices::List(vec![cuda(0)]))),
            ("cuda:1, cuda:0", Ok(Devices::List(vec![cuda(1), cuda(0)]))),
            ("gpu", Err(ProviderError::UnknownDevice("gpu".into()))),
            (
                "cuda:-1",
                Err(ProviderError::UnknownDevice("cuda:-1".into())),
            ),
            ("", Err(ProviderError::UnknownDevice(String::new()))),
            ("cpu,cuda:0", Err(ProviderError::Mixed("cpu,cuda:0".into()))),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Devices>(), expected, "{text}");
        }
    }

    #[test]
    fn stages_are_divided_in_runs() {
        let devices: Devices = "cuda:0,cuda:1".parse().unwrap();
        let assigned = devices.assign(Device::Cuda, 5).unwrap();
        assert_eq!(assigned, [cuda(0), cuda(0), cuda(0), cuda(1), cuda(1)]);
        let auto = Devices::Auto.assign(Device::Cpu, 2).unwrap();
        assert_eq!(auto, [Provider::Cpu, Provider::Cpu]);
    }

    #[test]
    fn a_bundle_for_the_cpu_does_not_run_on_cuda() {
        let devices: Devices = "cuda:1".parse().unwrap();
        let error = devices.assign(Device::Cpu, 1).unwrap_err().to_string();
        assert!(error.contains("--device cuda"), "{error}");
    }
}
