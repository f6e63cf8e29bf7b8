//! Execution providers: which device a stage runs on, and how ONNX Runtime learns it.
//!
//! A provider that is asked for and cannot be used is an error. ONNX Runtime would otherwise run on the
//! CPU without a word.

mod cuda;
mod error;
mod lost;
mod options;
mod placement;
mod plugin;
mod progress;
mod stage;
mod tensorrt;
mod unusable;

use std::{fmt, str::FromStr};

use ort::{
    environment::Environment,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    session::IoBinding,
};
use worldpm_ort_bundle::Device;

pub use cuda::{ArenaGrowth, AttentionKernel, CudaOptions};
pub use error::ProviderError;
pub use lost::device_lost;
pub use options::{ProviderOption, ProviderOptions};
pub(crate) use placement::Placement;
pub use plugin::PluginOptions;
pub(crate) use stage::StageContext;
pub use tensorrt::TensorRtOptions;

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
    /// device has none of its own, or its provider does not offer it.
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
        if let Some(wrong) = list.iter().find(|provider| !provider.runs(bundle)) {
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
mod tests;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod device_tests {
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
            (
                "tensorrt:1,cuda",
                Ok(Devices::List(vec![
                    Provider::TensorRt(Box::new(TensorRtOptions::new(1))),
                    cuda(0),
                ])),
            ),
            (
                "plugin:SomeProvider:2",
                Ok(Devices::List(vec![Provider::Plugin(
                    PluginOptions::new("SomeProvider", 2).unwrap(),
                )])),
            ),
            ("gpu", Err(ProviderError::UnknownDevice("gpu".into()))),
            ("plugin", Err(ProviderError::UnknownDevice("plugin".into()))),
            (
                "plugin::1",
                Err(ProviderError::UnknownDevice("plugin::1".into())),
            ),
            (
                "plugin:a b",
                Err(ProviderError::UnknownDevice("plugin:a b".into())),
            ),
            (
                "tensorrt:x",
                Err(ProviderError::UnknownDevice("tensorrt:x".into())),
            ),
            ("cpu:0", Err(ProviderError::UnknownDevice("cpu:0".into()))),
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
    fn names_are_read_back() {
        for name in ["cpu", "cuda:3", "tensorrt:1", "plugin:SomeProvider:2"] {
            assert_eq!(name.parse::<Provider>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn a_plug_in_provider_is_asked_itself() {
        let devices: Devices = "plugin:SomeProvider".parse().unwrap();
        for bundle in [Device::Cpu, Device::Cuda] {
            assert!(devices.slots(bundle, 1, 1).is_ok());
        }
        let devices: Devices = "tensorrt:0".parse().unwrap();
        assert!(devices.slots(Device::Cpu, 1, 1).is_err());
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
