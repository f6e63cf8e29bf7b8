//! The attribute of each item that a filter looks at.

use crate::{
    error::Result,
    index::item_or_attribute,
    limits::reserve,
    value::{Interp, Value},
};

/// Reads an attribute, or a path of several with dots between.
pub(crate) struct Getter {
    parts: Vec<Value>,
    default: Option<Value>,
    ignore_case: bool,
}

impl Getter {
    pub(crate) fn new(
        attribute: Option<&Value>,
        default: Option<Value>,
        ignore_case: bool,
    ) -> Self {
        let parts = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(path)) => path
                .as_str()
                .split('.')
                .map(|part| match part.parse() {
                    Ok(index) if part.bytes().all(|byte| byte.is_ascii_digit()) => {
                        Value::Int(index)
                    }
                    _ => Value::from(part),
                })
                .collect(),
            Some(other) => vec![other.clone()],
        };
        Self {
            parts,
            default: default.filter(|default| !default.is_none()),
            ignore_case,
        }
    }

    pub(crate) fn get(&self, interp: &mut Interp<'_>, item: &Value) -> Result<Value> {
        let mut value = item.clone();
        for part in &self.parts {
            value = item_or_attribute(interp, &value, part)?;
            if let (true, Some(default)) = (value.is_undefined(), &self.default) {
                value = default.clone();
            }
        }
        Ok(match &value {
            Value::Str(text) if self.ignore_case => {
                reserve(text.as_str().len())?;
                Value::text_like(text.as_str().to_lowercase(), text.is_safe())
            }
            _ => value,
        })
    }

    /// A single list of attributes has commas between the paths.
    pub(crate) fn several(attribute: Option<&Value>, ignore_case: bool) -> Vec<Self> {
        match attribute {
            Some(Value::Str(paths)) => paths
                .as_str()
                .split(',')
                .map(|path| Self::new(Some(&Value::from(path)), None, ignore_case))
                .collect(),
            other => vec![Self::new(other, None, ignore_case)],
        }
    }
}
