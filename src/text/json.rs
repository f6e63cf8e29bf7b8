//! Values as Python writes them: `json.dumps` for the `tojson` filter, `str` and `repr` for everything printed.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// How `json.dumps` lays out its text. The default is that of the chat templates' `tojson`.
#[derive(Debug, Clone)]
pub(super) struct JsonStyle {
    /// Escape everything outside ASCII.
    pub(super) ensure_ascii: bool,
    /// What one level of nesting is indented by; `None` puts everything on one line.
    pub(super) indent: Option<String>,
    /// Between items, and between a key and its value; `None` is Python's choice for the indent.
    pub(super) separators: Option<(String, String)>,
    /// Sort the keys of objects.
    pub(super) sort_keys: bool,
}

/// `json.dumps(value, …)`.
///
/// # Errors
///
/// What Python refuses too: undefined values, and keys that are not scalars.
pub(super) fn dumps(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let default_item = if style.indent.is_some() { "," } else { ", " };
    let (item, key) = match &style.separators {
        Some((item, key)) => (item.as_str(), key.as_str()),
        None => (default_item, ": "),
    };
    let mut writer = Writer {
        out: String::new(),
        style,
        item,
        key,
    };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer<'a> {
    out: String,
    style: &'a JsonStyle,
    item: &'a str,
    key: &'a str,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => {
                let text = if value.is_true() { "true" } else { "false" };
                self.out.push_str(text);
            }
            ValueKind::Number => self.out.push_str(&number(value, "Infinity", "NaN")),
            ValueKind::String => self.string(value.as_str().unwrap_or("")),
            ValueKind::Seq | ValueKind::Iterable => {
                self.out.push('[');
                let mut empty = true;
                for item in value.try_iter()? {
                    self.next(empty, depth + 1);
                    empty = false;
                    self.value(&item, depth + 1)?;
                }
                self.close(empty, depth, ']');
            }
            ValueKind::Map => {
                let mut pairs = Vec::new();
                for key in value.try_iter()? {
                    let item = value.get_item(&key)?;
                    pairs.push((self.key_text(&key)?, item));
                }
                if self.style.sort_keys {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.out.push('{');
                for (i, (key, item)) in pairs.iter().enumerate() {
                    self.next(i == 0, depth + 1);
                    self.string(key);
                    self.out.push_str(self.key);
                    self.value(item, depth + 1)?;
                }
                self.close(pairs.is_empty(), depth, '}');
            }
            _ => return Err(not_serializable(value)),
        }
        Ok(())
    }

    fn key_text(&self, key: &Value) -> Result<String, Error> {
        match key.kind() {
            ValueKind::String => Ok(key.as_str().unwrap_or("").to_owned()),
            ValueKind::None => Ok("null".to_owned()),
            ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
            ValueKind::Number => Ok(number(key, "Infinity", "NaN")),
            _ => Err(not_serializable(key)),
        }
    }

    fn next(&mut self, first: bool, depth: usize) {
        if !first {
            self.out.push_str(self.item);
        }
        self.newline(depth);
    }

    fn close(&mut self, empty: bool, depth: usize, end: char) {
        if !empty {
            self.newline(depth);
        }
        self.out.push(end);
    }

    fn newline(&mut self, depth: usize) {
        if let Some(indent) = &self.style.indent {
            self.out.push('\n');
            self.out.push_str(&indent.repeat(depth));
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                ' '..='~' => self.out.push(c),
                _ if c >= '\u{20}' && !self.style.ensure_ascii => self.out.push(c),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
        }
        self.out.push('"');
    }
}

fn not_serializable(value: &Value) -> Error {
    let detail = format!("a value of kind {} cannot be written as JSON", value.kind());
    Error::new(ErrorKind::InvalidOperation, detail)
}

/// A number as Python writes it; `inf` and `nan` differ between `json.dumps` and `repr`.
fn number(value: &Value, inf: &str, nan: &str) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => {
            if float.is_nan() {
                nan.to_owned()
            } else if float.is_infinite() {
                format!("{}{inf}", if float < 0.0 { "-" } else { "" })
            } else {
                float_repr(float)
            }
        }
        _ => value.to_string(),
    }
}

/// `float.__repr__`: the shortest digits that read back the same, with an exponent from 1e16 up and below 1e-4.
fn float_repr(float: f64) -> String {
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if (-4..16).contains(&exponent) => {
            let plain = float.to_string();
            if plain.contains('.') {
                plain
            } else {
                plain + ".0"
            }
        }
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        Err(_) => scientific,
    }
}

/// `str(value)`; an undefined value is empty.
pub(super) fn python_str(value: &Value) -> String {
    match value.kind() {
        ValueKind::String => value.as_str().unwrap_or("").to_owned(),
        ValueKind::Undefined => String::new(),
        _ => python_repr(value),
    }
}

/// `repr(value)`.
pub(super) fn python_repr(value: &Value) -> String {
    match value.kind() {
        ValueKind::Undefined => "Undefined".to_owned(),
        ValueKind::Number => number(value, "inf", "nan"),
        ValueKind::String => string_repr(value.as_str().unwrap_or("")),
        ValueKind::Map => {
            let mut pairs = Vec::new();
            for key in value.try_iter().into_iter().flatten() {
                let item = value.get_item(&key).unwrap_or_default();
                pairs.push(format!("{}: {}", python_repr(&key), python_repr(&item)));
            }
            format!("{{{}}}", pairs.join(", "))
        }
        ValueKind::Seq => {
            let items: Vec<_> = value
                .try_iter()
                .into_iter()
                .flatten()
                .map(|item| python_repr(&item))
                .collect();
            match (value.is_tuple(), items.as_slice()) {
                (true, [one]) => format!("({one},)"),
                (true, _) => format!("({})", items.join(", ")),
                (false, _) => format!("[{}]", items.join(", ")),
            }
        }
        _ => value.to_string(),
    }
}

fn string_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c == quote => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ if is_printable(c) => out.push(c),
            _ => match u32::from(c) {
                code @ 0..=0xff => out.push_str(&format!("\\x{code:02x}")),
                code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
    out
}

/// `str.isprintable`, which asks the same of a character as Rust's own debug text: no control, separator, private or
/// unassigned character. The letter in front keeps combining marks from counting as the start of a text.
fn is_printable(c: char) -> bool {
    let text: String = ['a', c].iter().collect();
    text.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (float, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (123456789.123, "123456789.123"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(float_repr(float), expected);
        }
    }

    #[test]
    fn strings_are_quoted_as_python_quotes_them() {
        for (text, expected) in [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("\"it's\"", "'\"it\\'s\"'"),
            ("\u{0}\u{7f}\u{a0}\u{ad}", "'\\x00\\x7f\\xa0\\xad'"),
            ("e\u{301}é😀", "'e\u{301}é😀'"),
            ("\u{200b}\u{e000}\u{f0000}", "'\\u200b\\ue000\\U000f0000'"),
        ] {
            assert_eq!(string_repr(text), expected);
        }
    }
}
