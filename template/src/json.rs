//! `json.dumps`, for the filter `tojson` of `transformers`.

use crate::{
    error::{Result, type_error},
    limits::work,
    number::{Number, float_repr},
    value::{Buffer, Value},
};

/// How `json.dumps` lays out its text.
pub(crate) struct Style {
    /// Escape everything outside ASCII.
    pub(crate) ensure_ascii: bool,
    /// What one level of nesting is indented by; `None` puts everything on one line.
    pub(crate) indent: Option<String>,
    /// Between items, and between a key and its value.
    pub(crate) separators: (String, String),
    /// Sort the keys of objects.
    pub(crate) sort_keys: bool,
}

/// `json.dumps(value, …)`.
///
/// # Errors
///
/// What Python refuses too: undefined values, keys that are not scalars, keys that have no order.
pub(crate) fn dumps(value: &Value, style: &Style, out: &mut Buffer) -> Result<()> {
    Writer { out, style }.value(value, 0)
}

struct Writer<'a> {
    out: &'a mut Buffer,
    style: &'a Style,
}

fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float_repr(value)
    }
}

fn not_serializable(value: &Value) -> crate::error::Error {
    type_error(format!(
        "Object of type {} is not JSON serializable",
        value.type_name()
    ))
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        work(1)?;
        match value {
            Value::None => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => self.out.push_str(&value.to_string()),
            Value::Big(value) => self.out.push_str(&crate::number::big_repr(value)?),
            Value::Float(value) => self.out.push_str(&float(*value)),
            Value::Str(text) => self.string(text.as_str()),
            Value::List(seq) | Value::Tuple(seq) => {
                self.out.push_str("[")?;
                for (at, item) in seq.items.iter().enumerate() {
                    self.next(at == 0, depth + 1)?;
                    self.value(item, depth + 1)?;
                }
                self.close(seq.items.is_empty(), depth, "]")
            }
            Value::Dict(dict) => {
                let mut pairs: Vec<(&Value, &Value)> = dict.iter().collect();
                if self.style.sort_keys {
                    crate::compare::sort_by_key(&mut pairs, |pair| pair.0, false)?;
                }
                self.out.push_str("{")?;
                for (at, (key, item)) in pairs.iter().enumerate() {
                    self.next(at == 0, depth + 1)?;
                    self.key(key)?;
                    self.out.push_str(&self.style.separators.1)?;
                    self.value(item, depth + 1)?;
                }
                self.close(pairs.is_empty(), depth, "}")
            }
            other => Err(not_serializable(other)),
        }
    }

    fn key(&mut self, key: &Value) -> Result<()> {
        let text = match key {
            Value::Str(text) => return self.string(text.as_str()),
            Value::None => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Float(value) => float(*value),
            key if Number::of(key).is_some() => crate::repr::repr(key)?,
            key => {
                return Err(type_error(format!(
                    "keys must be str, int, float, bool or None, not {}",
                    key.type_name()
                )));
            }
        };
        self.string(&text)
    }

    fn next(&mut self, first: bool, depth: usize) -> Result<()> {
        if !first {
            self.out.push_str(&self.style.separators.0)?;
        }
        self.newline(depth)
    }

    fn close(&mut self, empty: bool, depth: usize, end: &str) -> Result<()> {
        if !empty {
            self.newline(depth)?;
        }
        self.out.push_str(end)
    }

    fn newline(&mut self, depth: usize) -> Result<()> {
        if let Some(indent) = &self.style.indent {
            self.out.push_str("\n")?;
            for _ in 0..depth {
                self.out.push_str(indent)?;
            }
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<()> {
        self.out.push_str("\"")?;
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            let escaped = match c {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                '\t' => "\\t".to_owned(),
                '\u{8}' => "\\b".to_owned(),
                '\u{c}' => "\\f".to_owned(),
                ' '..='~' => continue,
                _ if c >= '\u{20}' && !self.style.ensure_ascii => continue,
                _ => {
                    let units = c.encode_utf16(&mut [0; 2]).to_vec();
                    units.iter().map(|unit| format!("\\u{unit:04x}")).collect()
                }
            };
            self.out.push_str(text.get(plain..at).unwrap_or(""))?;
            self.out.push_str(&escaped)?;
            plain = at + c.len_utf8();
        }
        self.out.push_str(text.get(plain..).unwrap_or(""))?;
        self.out.push_str("\"")
    }
}
