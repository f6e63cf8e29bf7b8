//! Strings: what may stand in one, and what its escapes stand for.

use super::{Parser, Result};

impl<'a> Parser<'a> {
    /// Reads a string.
    pub(super) fn string<T: From<&'a str> + From<String>>(&mut self) -> Result<T> {
        let (text, has_escapes) = self.quoted()?;
        Ok(match has_escapes {
            false => text.into(),
            true => unescaped(text).into(),
        })
    }

    /// Takes a string, with its escapes checked but left as they are, and says whether it has any.
    pub(super) fn quoted(&mut self) -> Result<(&'a str, bool)> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let plain = rest
                .iter()
                .position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\');
            self.at += plain.unwrap_or(rest.len());
            match self.next_byte() {
                Some(b'"') => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Ok((text, has_escapes));
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(_) => {
                    return Err(
                        self.expected("a line break or control character in a string: escape it")
                    );
                }
                None => return Err(self.expected("a string is not closed")),
            }
        }
    }

    /// Takes an escape off, which must be a right one.
    fn escape(&mut self) -> Result<()> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let half = "half of a surrogate pair: a character beyond U+FFFF takes two escapes";
                let first = self.hex(self.at + 2)?;
                let length = match first {
                    0xD800..=0xDBFF => {
                        let follows = self.text[self.at + 6..].starts_with("\\u");
                        let is_pair = follows && matches!(self.hex(self.at + 8)?, 0xDC00..=0xDFFF);
                        if !is_pair {
                            return Err(self.expected(half));
                        }
                        12
                    }
                    0xDC00..=0xDFFF => return Err(self.expected(half)),
                    _ => 6,
                };
                self.at += length;
            }
            _ => return Err(self.expected("no such escape in a string")),
        }
        Ok(())
    }

    /// Four hexadecimal digits.
    fn hex(&self, at: usize) -> Result<u32> {
        let digits = self.text.as_bytes().get(at..at + 4).and_then(hex);
        digits.ok_or_else(|| self.expected("expected four hexadecimal digits after `\\u`"))
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digit = |value: u32, &byte: &u8| Some(16 * value + char::from(byte).to_digit(16)?);
    digits.iter().try_fold(0, digit)
}

/// A string whose escapes have been checked.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest.as_bytes()[at + 1..];
        let unit = |from: usize| escape.get(from..from + 4).and_then(hex).unwrap_or(0);
        let (length, c) = match escape.first() {
            Some(b'u') => match unit(1) {
                high @ 0xD800..=0xDBFF => {
                    let low = unit(7).wrapping_sub(0xDC00);
                    let code = 0x10000 + ((high - 0xD800) << 10) + low;
                    (12, char::from_u32(code))
                }
                code => (6, char::from_u32(code)),
            },
            Some(b'b') => (2, Some('\u{8}')),
            Some(b'f') => (2, Some('\u{c}')),
            Some(b'n') => (2, Some('\n')),
            Some(b'r') => (2, Some('\r')),
            Some(b't') => (2, Some('\t')),
            other => (2, other.map(|&byte| char::from(byte))),
        };
        out.extend(c);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}
