//! The types of columns, from values of JSON.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};
use worldpm_ort_runtime::json::{Json, Number};

/// What the values of a column have been so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Type {
    /// Nothing but null.
    #[default]
    Unknown,
    Bool,
    Integer,
    Float,
    Text,
    List(Box<Type>),
    Struct(Vec<(String, Type)>),
}

/// Two values that have no type in common, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct Clash {
    /// Names and `[]` from the column on.
    pub(crate) path: String,
    pub(crate) problem: String,
}

impl Type {
    /// Takes another value into account.
    pub(crate) fn add(&mut self, value: &Json) -> Result<(), Clash> {
        if let (Self::Unknown, false) = (&*self, value.is_null()) {
            *self = match value {
                Json::Null => Self::Unknown,
                Json::Bool(_) => Self::Bool,
                Json::Number(_) => Self::Integer,
                Json::String(_) => Self::Text,
                Json::Array(_) => Self::List(Box::default()),
                Json::Object(_) => Self::Struct(Vec::new()),
            };
        }
        match (&mut *self, value) {
            (_, Json::Null) | (Self::Bool, Json::Bool(_)) | (Self::Text, Json::String(_)) => Ok(()),
            (Self::Float, Json::Number(_)) => Ok(()),
            (Self::Integer, Json::Number(number)) => {
                if !number.is_integer() {
                    *self = Self::Float;
                } else if integer(number).is_none() {
                    return Err(Clash {
                        path: String::new(),
                        problem: format!("{number} does not fit into 64 bits"),
                    });
                }
                Ok(())
            }
            (Self::List(item), Json::Array(values)) => values
                .iter()
                .try_for_each(|value| item.add(value))
                .map_err(|clash| clash.within("[]")),
            (Self::Struct(fields), Json::Object(object)) => {
                object.iter().try_for_each(|(name, value)| {
                    let at = fields.iter().position(|(known, _)| known == name);
                    let at = at.unwrap_or_else(|| {
                        fields.push((name.clone(), Self::Unknown));
                        fields.len() - 1
                    });
                    fields[at]
                        .1
                        .add(value)
                        .map_err(|clash| clash.within(&format!(".{name}")))
                })
            }
            (known, value) => Err(Clash {
                path: String::new(),
                problem: format!("{} beside {}", value.kind(), known.kind()),
            }),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Unknown => "null",
            Self::Bool => "a boolean",
            Self::Integer | Self::Float => "a number",
            Self::Text => "a string",
            Self::List(_) => "a list",
            Self::Struct(_) => "an object",
        }
    }

    /// The type of such a column.
    ///
    /// # Errors
    ///
    /// The path of an object without fields, of which there are no columns.
    pub(crate) fn data_type(&self, is_parquet: bool) -> Result<DataType, Clash> {
        Ok(match self {
            Self::Unknown => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::List(item) => {
                let item = item
                    .data_type(is_parquet)
                    .map_err(|clash| clash.within("[]"))?;
                // As Parquet calls it, and as Arrow does.
                let name = if is_parquet { "element" } else { "item" };
                DataType::List(Arc::new(Field::new(name, item, true)))
            }
            Self::Struct(fields) if fields.is_empty() && is_parquet => {
                return Err(Clash {
                    path: String::new(),
                    problem: "objects without any field, which Parquet does not have".into(),
                });
            }
            Self::Struct(fields) => {
                let field = |(name, field): &(String, Self)| {
                    let data_type = field
                        .data_type(is_parquet)
                        .map_err(|clash| clash.within(&format!(".{name}")))?;
                    Ok(Field::new(name, data_type, true))
                };
                DataType::Struct(
                    fields
                        .iter()
                        .map(field)
                        .collect::<Result<Fields, Clash>>()?,
                )
            }
        })
    }
}

impl Clash {
    pub(crate) fn within(mut self, part: &str) -> Self {
        self.path.insert_str(0, part);
        self
    }
}

/// The integer, where it fits into a column of them.
pub(crate) fn integer(number: &Number) -> Option<i64> {
    match number.is_integer() {
        true => i64::try_from(number.as_i128()?).ok(),
        false => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(values: &str) -> Result<Type, Clash> {
        let mut found = Type::default();
        let values = Json::parse(values).unwrap();
        values
            .as_array()
            .unwrap()
            .iter()
            .try_for_each(|value| found.add(value))?;
        Ok(found)
    }

    #[test]
    fn types_of_values() {
        for (values, expected) in [
            ("[null]", "Null"),
            ("[1, null, 2]", "Int64"),
            ("[1, 2.5]", "Float64"),
            ("[1e3, 2]", "Float64"),
            (r#"["a"]"#, "Utf8"),
            ("[[], [1]]", "List(Int64, field: 'element')"),
            (
                r#"[{"a": 1}, {"b": "x", "a": null}]"#,
                r#"Struct("a": Int64, "b": Utf8)"#,
            ),
        ] {
            let found = of(values).unwrap().data_type(true).unwrap();
            assert_eq!(
                found.to_string().replace("nullable ", ""),
                expected,
                "{values}"
            );
        }
        for (values, path, problem) in [
            (r#"[1, "a"]"#, "", "a string beside a number"),
            (
                r#"[[{"content": "x"}, {"content": ["x"]}]]"#,
                "[].content",
                "a list beside a string",
            ),
            (
                "[9223372036854775808]",
                "",
                "9223372036854775808 does not fit into 64 bits",
            ),
        ] {
            let clash = of(values).unwrap_err();
            assert_eq!((&*clash.path, &*clash.problem), (path, problem));
        }
        let empty = of(r#"[{"meta": [{}]}]"#).unwrap();
        assert_eq!(empty.data_type(true).unwrap_err().path, ".meta[]");
        assert!(empty.data_type(false).is_ok());
    }
}
