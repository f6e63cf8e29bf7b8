//! Options of providers as `KEY=VALUE`, in ONNX Runtime's own names.

use std::{path::PathBuf, str::FromStr};

use super::{Provider, ProviderError};

/// Options for the providers of a pipeline, whichever devices it has.
///
/// An option goes to the providers that know it: one that begins with `trt_` to TensorRT, any other to CUDA (also where
/// CUDA takes what TensorRT leaves), and all of them to plug-in providers. Options that this crate knows are checked;
/// others are passed on as they are, and ONNX Runtime refuses those that it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderOptions {
    /// Library of the plug-in provider that the devices name, for [`Provider::Plugin`]. Default: none.
    pub library: Option<PathBuf>,
    /// Options, in order; a later one replaces an earlier one with the same key. Default: none.
    pub options: Vec<ProviderOption>,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderOption {
    key: String,
    value: String,
}

impl ProviderOption {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for ProviderOption {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        let fault = |problem: &str| Err(ProviderError::option(text, problem));
        let Some((key, value)) = text.split_once('=') else {
            return fault("give KEY=VALUE, for example gpu_mem_limit=30000000000");
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if key.is_empty() || !key.chars().all(is_word) {
            return fault("the key before `=` must be letters, digits, `_`, `.` and `-`");
        }
        if value.is_empty() || value.chars().any(char::is_control) {
            return fault("the value after `=` must be printable text, and not empty");
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl ProviderOptions {
    /// Sets the options on the providers they belong to.
    ///
    /// # Errors
    /// [`ProviderError::Option`] for an option that no provider takes, and for a value that its provider refuses.
    pub fn apply<'a>(
        &self,
        providers: impl IntoIterator<Item = &'a mut Provider>,
    ) -> Result<(), ProviderError> {
        let mut providers: Vec<&mut Provider> = providers.into_iter().collect();
        if let Some(library) = &self.library {
            let mut taken = false;
            for provider in &mut providers {
                if let Provider::Plugin(options) = &mut **provider {
                    options.library = Some(library.clone());
                    taken = true;
                }
            }
            if !taken {
                return Err(ProviderError::option(
                    &library.display().to_string(),
                    "a provider library is given and no device of it; give --device plugin:PROVIDER too, \
                     with the provider's name",
                ));
            }
        }
        for ProviderOption { key, value } in &self.options {
            let mut taken = false;
            for provider in &mut providers {
                taken |= provider.set(key, value)?;
            }
            if !taken {
                let names: Vec<String> = providers.iter().map(ToString::to_string).collect();
                return Err(ProviderError::option(
                    key,
                    format!("no device in use takes it ({})", names.join(", ")),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ep::Devices;

    fn providers(devices: &str) -> Vec<Provider> {
        match devices.parse().unwrap() {
            Devices::List(list) => list,
            Devices::Auto => unreachable!("the tests name devices"),
        }
    }

    fn apply(devices: &str, options: &[&str]) -> Result<Vec<Provider>, ProviderError> {
        let options = options.iter().map(|text| text.parse().unwrap()).collect();
        let options = ProviderOptions {
            library: None,
            options,
        };
        let mut providers = providers(devices);
        options.apply(&mut providers).map(|()| providers)
    }

    #[test]
    fn form() {
        let option: ProviderOption = "a.b-c_1=x=y".parse().unwrap();
        assert_eq!((option.key(), option.value()), ("a.b-c_1", "x=y"));
        for bad in ["", "key", "=value", "key=", "a b=c", "key=a\nb", "key=a\0b"] {
            let error = bad.parse::<ProviderOption>().unwrap_err().to_string();
            assert!(error.contains("provider option"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn each_provider_gets_its_own() {
        let given = ["gpu_mem_limit=5", "trt_builder_optimization_level=2"];
        let set = apply("cuda:0,tensorrt:1", &given).unwrap();
        match &set[0] {
            Provider::Cuda(options) => assert_eq!(options.memory_limit, Some(5)),
            other => panic!("{other}"),
        }
        match &set[1] {
            Provider::TensorRt(options) => {
                assert_eq!(options.optimization_level, Some(2));
                assert_eq!(options.cuda.memory_limit, Some(5));
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn options_that_nothing_takes_are_refused() {
        for (devices, option) in [
            ("cpu", "gpu_mem_limit=5"),
            ("cuda:0", "trt_builder_optimization_level=2"),
        ] {
            let error = apply(devices, &[option]).unwrap_err().to_string();
            assert!(
                error.contains("no device in use takes it") && error.contains(devices),
                "{error}"
            );
        }
    }

    #[test]
    fn a_library_needs_a_device_of_it() {
        let options = ProviderOptions {
            library: Some("/lib/provider.so".into()),
            options: Vec::new(),
        };
        let error = options.apply(&mut providers("cuda:0")).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("--device plugin:PROVIDER"), "{error}");
        let mut set = providers("plugin:Some");
        options.apply(&mut set).unwrap();
        match &set[0] {
            Provider::Plugin(plugin) => assert_eq!(plugin.library, options.library),
            other => panic!("{other}"),
        }
    }
}
