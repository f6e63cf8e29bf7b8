//! Execution providers: which device a stage runs on, and how ONNX Runtime is told.
//!
//! A provider that is asked for and cannot be used is an error. ONNX Runtime would otherwise run on the
//! CPU without a word.

mod cuda;

use std::{fmt, str::FromStr};

use ort::{
    ep::ExecutionProviderDispatch,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
};
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

/// Where a stage runs: a device of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Place of the device among those in use, from 0. Stages of the same place share a device.
    pub(crate) device: usize,
    pub(crate) provider: Provider,
}

/// A device that cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderError {
    /// Not the name of a device.
    #[error("'{0}' is no device; give cpu, cuda:N (a list with commas for several) or auto")]
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

    /// Whether an error of ONNX Runtime means that the device can no longer be used by this process.
    pub(crate) fn is_lost(&self, problem: &str) -> bool {
        match self {
            Self::Cpu => false,
            Self::Cuda(_) => cuda::is_lost(problem),
        }
    }

    /// Where hidden states stay between stages; `None` for memory of the host.
    pub(crate) fn memory(&self) -> ort::Result<Option<MemoryInfo<'static>>> {
        match self {
            Self::Cpu => Ok(None),
            Self::Cuda(options) => {
                let id = i32::from(options.device_id);
                let device = AllocationDevice::CUDA;
                MemoryInfo::new(device, id, AllocatorType::Device, MemoryType::Default).map(Some)
            }
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
        if on_cpu > 0 && on_cpu < list.len() {
            return Err(ProviderError::Mixed(names.to_owned()));
        }
        Ok(Self::List(list))
    }
}

impl Devices {
    /// The device of each of `stages` stages, for each of `replicas` copies of a bundle exported for `bundle`.
    ///
    /// The list is divided among the copies in runs, and the devices of a copy among its stages. `cpu` several times
    /// means as many parts of its cores.
    ///
    /// # Errors
    /// [`ProviderError::WrongBundle`] when a device of the list does not run such bundles,
    /// [`ProviderError::TooFewDevices`] when there are more copies than devices.
    pub(crate) fn slots(
        &self,
        bundle: Device,
        stages: usize,
        replicas: usize,
    ) -> Result<Vec<Vec<Slot>>, ProviderError> {
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
        let devices = list.len();
        if replicas > devices {
            return Err(ProviderError::TooFewDevices { replicas, devices });
        }
        let copy = |replica: usize| {
            let (start, end) = (
                replica * devices / replicas,
                (replica + 1) * devices / replicas,
            );
            let slot = |stage: usize| {
                let device = start + stage * (end - start) / stages;
                Slot {
                    device: place_of(list, device),
                    provider: list[device].clone(),
                }
            };
            (0..stages).map(slot).collect()
        };
        Ok((0..replicas).map(copy).collect())
    }
}

/// A GPU that is listed twice is one device; each `cpu` is another part of the cores.
fn place_of(list: &[Provider], device: usize) -> usize {
    match &list[device] {
        Provider::Cpu => device,
        gpu => list.iter().position(|other| other == gpu).unwrap_or(device),
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
            (
                "cpu,cpu",
                Ok(Devices::List(vec![Provider::Cpu, Provider::Cpu])),
            ),
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

    /// Devices and providers of all copies, as text.
    fn slots(devices: &str, bundle: Device, stages: usize, replicas: usize) -> String {
        let devices: Devices = devices.parse().unwrap();
        let copies = devices.slots(bundle, stages, replicas).unwrap();
        let text = |copy: &Vec<Slot>| {
            let slots = copy
                .iter()
                .map(|slot| format!("{}={}", slot.device, slot.provider));
            slots.collect::<Vec<_>>().join(" ")
        };
        copies.iter().map(text).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn stages_are_divided_in_runs() {
        for (devices, bundle, stages, replicas, expected) in [
            ("auto", Device::Cpu, 2, 1, "0=cpu 0=cpu"),
            (
                "cuda:0,cuda:1",
                Device::Cuda,
                5,
                1,
                "0=cuda:0 0=cuda:0 0=cuda:0 1=cuda:1 1=cuda:1",
            ),
            ("cuda:0,cuda:1", Device::Cuda, 1, 1, "0=cuda:0"),
            (
                "cuda:0,cuda:1",
                Device::Cuda,
                2,
                2,
                "0=cuda:0 0=cuda:0 | 1=cuda:1 1=cuda:1",
            ),
            (
                "cuda:0,cuda:1,cuda:2",
                Device::Cuda,
                2,
                2,
                "0=cuda:0 0=cuda:0 | 1=cuda:1 2=cuda:2",
            ),
            ("cuda:3,cuda:3", Device::Cuda, 2, 1, "0=cuda:3 0=cuda:3"),
            ("cpu,cpu", Device::Cpu, 2, 1, "0=cpu 1=cpu"),
            ("cpu,cpu", Device::Cpu, 1, 2, "0=cpu | 1=cpu"),
        ] {
            assert_eq!(
                slots(devices, bundle, stages, replicas),
                expected,
                "{devices} {stages} {replicas}"
            );
        }
        let two: Devices = "cpu,cpu".parse().unwrap();
        let error = two.slots(Device::Cpu, 2, 3).unwrap_err();
        assert_eq!(
            error,
            ProviderError::TooFewDevices {
                replicas: 3,
                devices: 2
            }
        );
    }

    #[test]
    fn a_bundle_for_the_cpu_does_not_run_on_cuda() {
        let devices: Devices = "cuda:1".parse().unwrap();
        let error = devices.slots(Device::Cpu, 1, 1).unwrap_err().to_string();
        assert!(error.contains("--device cuda"), "{error}");
    }
}
