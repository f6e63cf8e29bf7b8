//! Protobuf's text format, as far as model configurations need it.

use std::fmt::{Display, Write};

/// A message being written, one field a line.
#[derive(Debug, Default)]
pub(super) struct TextProto {
    text: String,
    depth: usize,
}

impl TextProto {
    /// A comment line.
    pub(super) fn comment(&mut self, comment: &str) {
        self.line(format_args!("# {comment}"));
    }

    /// A field whose value is a number or the name of an enumeration's constant.
    pub(super) fn plain(&mut self, field: &str, value: impl Display) {
        self.line(format_args!("{field}: {value}"));
    }

    /// A repeated field of numbers.
    pub(super) fn list(&mut self, field: &str, values: &[i64]) {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        self.line(format_args!("{field}: [ {} ]", values.join(", ")));
    }

    /// A field of text.
    pub(super) fn string(&mut self, field: &str, value: &str) {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        self.line(format_args!("{field}: \"{escaped}\""));
    }

    /// A field that is a message.
    pub(super) fn message(&mut self, field: &str, fill: impl FnOnce(&mut Self)) {
        self.line(format_args!("{field} {{"));
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        self.line(format_args!("}}"));
    }

    /// An entry of a map from text to text.
    pub(super) fn entry(&mut self, field: &str, key: &str, value: &str) {
        self.message(field, |entry| {
            entry.string("key", key);
            entry.string("value", value);
        });
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:1$}{line}", "", 2 * self.depth);
    }
}
