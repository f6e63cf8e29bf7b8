//! Typed access to the fields of `config.json`, with errors that name them.

use std::path::Path;

use serde_json::{Map, Value};
use worldpm_ort_bundle::json::kind;

use super::python_json::shown;
use crate::error::{Error, Result};

/// Larger sizes are refused, so that products of two of them, in bytes, cannot overflow.
pub(super) const MAX_SIZE: u64 = 1 << 28;

/// One JSON object of the file; null counts as absent, as it does for `transformers`.
pub(super) struct Fields<'a> {
    pub(super) path: &'a Path,
    /// The object's own name; empty for the whole file.
    pub(super) prefix: &'static str,
    pub(super) map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn error(&self, field: &str, problem: impl Into<String>) -> Error {
        Error::Config {
            path: self.path.to_owned(),
            field: self.full_name(field),
            problem: problem.into(),
        }
    }

    /// A field's name in the whole file.
    pub(super) fn full_name(&self, field: &str) -> String {
        match self.prefix {
            "" => field.to_owned(),
            prefix => format!("{prefix}.{field}"),
        }
    }

    pub(super) fn unsupported(&self, what: String, hint: String) -> Error {
        Error::UnsupportedConfig {
            path: self.path.to_owned(),
            what,
            hint,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn missing(&self, name: &str) -> Error {
        self.error(name, "is missing; the model needs it")
    }

    pub(super) fn required(&self, name: &str) -> Result<&'a Value> {
        self.get(name).ok_or_else(|| self.missing(name))
    }

    pub(super) fn size(&self, name: &str) -> Result<usize> {
        let value = self.required(name)?;
        value
            .as_u64()
            .filter(|size| (1..=MAX_SIZE).contains(size))
            .and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| {
                self.error(
                    name,
                    format!(
                        "is {}; it must be a whole number from 1 to {MAX_SIZE}",
                        shown(value)
                    ),
                )
            })
    }

    pub(super) fn optional_size(&self, name: &str) -> Result<Option<usize>> {
        match self.get(name) {
            Some(_) => self.size(name).map(Some),
            None => Ok(None),
        }
    }

    /// A size that may be written as a float without a fraction.
    pub(super) fn whole_size(&self, name: &str) -> Result<Option<usize>> {
        match self.get(name).and_then(Value::as_f64) {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss
            )]
            Some(size) if size.fract() == 0.0 && size >= 1.0 && size <= MAX_SIZE as f64 => {
                Ok(Some(size as usize))
            }
            _ => self.optional_size(name),
        }
    }

    pub(super) fn positive(&self, name: &str) -> Result<f64> {
        let value = self.required(name)?;
        value
            .as_f64()
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| {
                self.error(
                    name,
                    format!("is {}; it must be a number above 0", shown(value)),
                )
            })
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.get(name)
            .map(|value| {
                value.as_bool().ok_or_else(|| {
                    self.error(
                        name,
                        format!("is {}; it must be true or false", shown(value)),
                    )
                })
            })
            .transpose()
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>> {
        self.get(name)
            .map(|value| {
                value.as_str().ok_or_else(|| {
                    self.error(name, format!("must be a string, not {}", kind(value)))
                })
            })
            .transpose()
    }

    /// A list of module names; none where the field is absent.
    pub(super) fn module_names(&self, name: &str) -> Result<Vec<String>> {
        let problem = || self.error(name, "must be a list of module names");
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        let list = value.as_array().ok_or_else(problem)?;
        list.iter()
            .map(|name| {
                let name = name.as_str().filter(|name| !name.is_empty());
                name.map(str::to_owned).ok_or_else(problem)
            })
            .collect()
    }
}
