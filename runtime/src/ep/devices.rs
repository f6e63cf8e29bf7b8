//! The devices of a pipeline, and which stage goes to which.

use std::str::FromStr;

use worldpm_ort_bundle::Device;

use super::{CudaOptions, Provider, ProviderError};

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
mod tests {
    use super::*;
    use crate::ep::{PluginOptions, TensorRtOptions};

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
