//! Providers in libraries of their own, which ONNX Runtime loads when they are named.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{
    AsPointer,
    device::Device,
    environment::Environment,
    session::{IoBinding, builder::SessionBuilder},
    sys::OrtDeviceMemoryType,
};

use super::ProviderError;

/// Longest name of a provider.
const MAX_NAME: usize = 100;

/// Options of a provider in a library of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginOptions {
    /// Name of the provider, as its library gives it, for example `NvTensorRTRTXExecutionProvider`.
    pub name: String,
    /// Which of the provider's devices, in its order. Default 0.
    pub device: u16,
    /// The library. Default: none; it must then have been registered by the program.
    pub library: Option<PathBuf>,
    /// Options that are passed on unchecked, by the provider's names.
    pub options: BTreeMap<String, String>,
}

impl PluginOptions {
    /// The provider `name` on its first device.
    ///
    /// # Errors
    /// [`ProviderError::UnknownDevice`] when `name` cannot be the name of a provider.
    pub fn new(name: &str, device: u16) -> Result<Self, ProviderError> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_word) {
            return Err(ProviderError::UnknownDevice(format!("plugin:{name}")));
        }
        Ok(Self {
            name: name.to_owned(),
            device,
            library: None,
            options: BTreeMap::new(),
        })
    }

    /// Registers the provider of `runtime`, ONNX Runtime's library, with a session.
    pub(super) fn configure(
        &self,
        builder: SessionBuilder,
        environment: &Environment,
        runtime: &Path,
    ) -> Result<SessionBuilder, ProviderError> {
        if let Some(library) = &self.library {
            self.register(environment, library, runtime)?;
        }
        let Some(device) = self.device(environment) else {
            return Err(self.no_device(environment, runtime));
        };
        let options: Vec<(String, String)> = self
            .options
            .iter()
            .map(|(key, value)| (format!("{}.{key}", self.name), value.clone()))
            .collect();
        builder
            .with_devices([device], Some(&options))
            .map_err(|error| ProviderError::Runtime(error.to_string()))
    }

    /// Binds an output to the memory of the device, and says whether the provider has offered any.
    #[allow(unsafe_code)]
    pub(super) fn bind_output(
        &self,
        environment: &Environment,
        binding: &mut IoBinding,
        name: &str,
    ) -> ort::Result<bool> {
        let Some(device) = self.device(environment) else {
            return Ok(false);
        };
        let kind = OrtDeviceMemoryType::OrtDeviceMemoryType_DEFAULT;
        // SAFETY: the device belongs to the environment, which is borrowed.
        let memory = unsafe { (ort::api().EpDevice_MemoryInfo)(device.ptr(), kind) };
        if memory.is_null() {
            // `Device::memory_info` would panic.
            return Ok(false);
        }
        binding.bind_output_to_device(name, &device.memory_info(false))?;
        Ok(true)
    }

    fn device<'e>(&self, environment: &'e Environment) -> Option<Device<'e>> {
        self.devices(environment).nth(usize::from(self.device))
    }

    fn devices<'e>(&self, environment: &'e Environment) -> impl Iterator<Item = Device<'e>> {
        environment
            .devices()
            .filter(|device| device.ep().is_ok_and(|name| name == self.name))
    }

    fn no_device(&self, environment: &Environment, runtime: &Path) -> ProviderError {
        let count = self.devices(environment).count();
        let mut known: Vec<&str> = environment
            .devices()
            .filter_map(|device| device.ep().ok())
            .collect();
        known.sort_unstable();
        known.dedup();
        let unusable = |problem, remedy: &str| ProviderError::Unusable {
            device: self.to_string(),
            library: runtime.to_owned(),
            problem,
            remedy: remedy.into(),
        };
        if count > 0 {
            return unusable(
                format!("the provider has {count} devices here, counted from 0"),
                "Name another device",
            );
        }
        if self.library.is_none() {
            return unusable(
                format!("it has no provider {} ({})", self.name, known.join(", ")),
                "Name the provider's library with --ep-library PATH",
            );
        }
        unusable(
            format!(
                "the provider's library finds no device for {} on this machine (ONNX Runtime has devices of {})",
                self.name,
                known.join(", ")
            ),
            "Check the name of the provider, and the driver and libraries that its makers ask for",
        )
    }

    /// Registers the library with ONNX Runtime, once in the process.
    fn register(
        &self,
        environment: &Environment,
        library: &Path,
        runtime: &Path,
    ) -> Result<(), ProviderError> {
        static REGISTERED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

        let unusable = |problem: String| {
            ProviderError::Unusable {
            device: self.to_string(),
            library: runtime.to_owned(),
            problem: format!("{}: {problem}", library.display()),
            remedy:
                "Give a provider library that is made for this version of ONNX Runtime, with the libraries \
                     it needs beside it or on LD_LIBRARY_PATH"
                    .into(),
        }
        };
        // ONNX Runtime takes a relative path as relative to its own library.
        let path = library
            .canonicalize()
            .map_err(|error| unusable(error.to_string()))?;
        let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        if !registered.contains(&path) {
            environment
                .register_ep_library(self.name.as_str(), &path)
                .map_err(|error| unusable(error.to_string()))?;
            registered.push(path);
        }
        Ok(())
    }
}

impl std::fmt::Display for PluginOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "plugin:{}:{}", self.name, self.device)
    }
}
