//! From text to values.

mod strings;

use std::sync::Arc;

use super::{Json, Number, Object};

/// Levels of lists and objects in one another, one more than may be: as `serde_json` has it.
const DEPTH: usize = 128;

/// Digits of an integer, as many as Python reads.
const MAX_DIGITS: usize = 4300;

/// Bytes of memory that any text may come to, and how many more for each of its own.
const MEMORY: (usize, usize) = (64 << 20, 4);

/// What a value takes beside its text, an object beside its fields, and a field beside its name and value.
const VALUE_BYTES: usize = 64;
const OBJECT_BYTES: usize = 256;
const FIELD_BYTES: usize = 64;

/// Why a text is not read as JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (line {line}, column {column})")]
pub struct JsonError {
    /// The line, from 1.
    pub line: usize,
    /// The byte of that line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: JsonErrorKind,
}

/// What is wrong with a text that should be JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// It breaks the grammar.
    #[error("{0}")]
    Syntax(&'static str),
    /// An object has a key twice: programs differ in which of the two they take.
    #[error("the key {0:?} is there twice in one object: keep one")]
    RepeatedKey(String),
    /// Lists and objects are nested too deep.
    #[error("lists and objects are nested {DEPTH} deep or deeper, which is not read")]
    TooDeep,
    /// It holds so many small values that they would take many times the memory of the text.
    #[error("there are too many small values for a text of this length")]
    TooMany,
}

/// Reads values off a text.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Bytes of memory that may still be taken.
    memory: usize,
}

type Result<T> = std::result::Result<T, JsonError>;

impl Json {
    /// Reads the text of one JSON value.
    ///
    /// # Errors
    ///
    /// Text that is not JSON, an object with a key twice, and a value that is nested more than 128 deep.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser::new(text);
        let value = parser.value()?;
        parser.end()?;
        Ok(value)
    }
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let (any, each) = MEMORY;
        Self {
            text,
            at: 0,
            depth: DEPTH,
            memory: any.saturating_add(text.len().saturating_mul(each)),
        }
    }

    /// The first byte of what comes next, past white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.at += rest.iter().take_while(|byte| is_space(byte)).count();
        self.next_byte()
    }

    /// Reads a value.
    pub(crate) fn value(&mut self) -> Result<Json> {
        self.take_memory(VALUE_BYTES)?;
        match self.peek() {
            Some(b'"') => {
                let text: Arc<str> = self.string()?;
                self.take_memory(text.len())?;
                Ok(Json::String(text))
            }
            Some(b'{') => {
                self.take_memory(OBJECT_BYTES)?;
                let mut fields = Object::new();
                self.object(|parser, name, place| {
                    parser.take_memory(FIELD_BYTES + name.len())?;
                    let value = parser.value()?;
                    let added = fields.add(name, value);
                    added.map_err(|name| parser.error_at(place, JsonErrorKind::RepeatedKey(name)))
                })?;
                Ok(Json::Object(fields))
            }
            Some(b'[') => {
                let mut items = Vec::new();
                self.array(|parser| {
                    items.push(parser.value()?);
                    Ok(())
                })?;
                Ok(Json::Array(items))
            }
            Some(b'-' | b'0'..=b'9') => Ok(Json::Number(Number::from_text(self.number()?))),
            _ => self.word(),
        }
    }

    /// Reads a value without keeping it.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'"') => self.quoted().map(drop),
            Some(b'{') => self.object(|parser, _, _| parser.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => self.word().map(drop),
        }
    }

    /// Reads an object: `field` is given each name and its place, and reads the value.
    pub(crate) fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, String, usize) -> Result<()>,
    ) -> Result<()> {
        self.open()?;
        if self.peek() == Some(b'}') {
            return self.close();
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected(match self.next_byte() {
                    Some(b'}') => "expected a key after the `,`",
                    Some(b'\'') => "a key takes double quotes",
                    _ => "expected a key in double quotes",
                }));
            }
            let place = self.at;
            let name = self.string()?;
            if self.peek() != Some(b':') {
                return Err(self.expected("expected `:`"));
            }
            self.at += 1;
            field(self, name, place)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => return self.close(),
                _ => return Err(self.expected("expected `,` or `}`")),
            }
        }
    }

    /// Reads a list: `item` reads each value.
    pub(crate) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.open()?;
        if self.peek() == Some(b']') {
            return self.close();
        }
        loop {
            item(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => return self.close(),
                _ => return Err(self.expected("expected `,` or `]`")),
            }
        }
    }

    /// Refuses anything behind the value.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error(JsonErrorKind::Syntax("expected nothing more"))),
        }
    }

    fn open(&mut self) -> Result<()> {
        self.depth -= 1;
        if self.depth == 0 {
            return Err(self.error(JsonErrorKind::TooDeep));
        }
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn next_byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        if self.next_byte() == Some(b'-') {
            self.at += 1;
        }
        if self.text[self.at..].starts_with("Infinity") {
            self.at = start;
            return self.word().map(|_| "");
        }
        match self.digits() {
            0 => return Err(self.expected("expected a digit")),
            1 => {}
            _ if self.text[start..].trim_start_matches('-').starts_with('0') => {
                return Err(self.error_at(
                    start,
                    JsonErrorKind::Syntax("a number does not begin with 0"),
                ));
            }
            _ => {}
        }
        let mut is_integer = true;
        if self.next_byte() == Some(b'.') {
            is_integer = false;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.expected("expected a digit"));
            }
        }
        if let Some(b'e' | b'E') = self.next_byte() {
            is_integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.next_byte() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.expected("expected a digit"));
            }
        }
        let text = &self.text[start..self.at];
        self.take_memory(text.len() + VALUE_BYTES / 2)?;
        let in_range = match is_integer {
            true => text.len() <= MAX_DIGITS,
            false => text.parse::<f64>().is_ok_and(f64::is_finite),
        };
        if !in_range {
            return Err(self.error_at(start, JsonErrorKind::Syntax("number out of range")));
        }
        Ok(text)
    }

    /// Takes digits off and says how many.
    fn digits(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// `null`, `true` or `false`.
    fn word(&mut self) -> Result<Json> {
        let rest = &self.text[self.at..];
        for (word, value) in [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.expected(match rest {
            _ if ["NaN", "Infinity", "-Infinity"]
                .iter()
                .any(|word| rest.starts_with(word)) =>
            {
                "NaN and Infinity, which Python writes, are not JSON: leave the field out, or make it null"
            }
            _ if ["None", "True", "False"]
                .iter()
                .any(|word| rest.starts_with(word)) =>
            {
                "this is Python and not JSON, which has null, true and false"
            }
            _ if rest.starts_with('\'') => "a string takes double quotes",
            _ => "expected value",
        }))
    }

    fn take_memory(&mut self, bytes: usize) -> Result<()> {
        match self.memory.checked_sub(bytes) {
            Some(left) => {
                self.memory = left;
                Ok(())
            }
            None => Err(self.error(JsonErrorKind::TooMany)),
        }
    }

    /// That something else must stand here, or that the text ends.
    fn expected(&self, what: &'static str) -> JsonError {
        let ends = self.at >= self.text.len();
        self.error(JsonErrorKind::Syntax(match ends {
            true => "the text ends in the middle of a value",
            false => what,
        }))
    }

    fn error(&self, kind: JsonErrorKind) -> JsonError {
        self.error_at(self.at, kind)
    }

    pub(crate) fn error_at(&self, at: usize, kind: JsonErrorKind) -> JsonError {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line_start = before
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |break_| break_ + 1);
        JsonError {
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
            column: 1 + before.len() - line_start,
            kind,
        }
    }
}
