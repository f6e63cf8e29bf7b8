//! From a template's text to tokens, with Jinja's rules for white space (`trim_blocks` and `lstrip_blocks` are on).

mod literals;

use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::Num;

use self::literals::{float_length, integer_length, string_length, unescape};
use crate::{
    error::{Error, Result},
    unicode::is_space,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Data(Arc<str>),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(Arc<str>),
    Str(String),
    Int(BigInt),
    Float(f64),
    Op(&'static str),
    Eof,
}

impl Token {
    /// The token as Jinja's messages describe it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Data(_) => "template data / text".to_owned(),
            Self::VariableBegin => "begin of print statement".to_owned(),
            Self::VariableEnd => "end of print statement".to_owned(),
            Self::BlockBegin => "begin of statement block".to_owned(),
            Self::BlockEnd => "end of statement block".to_owned(),
            Self::Name(name) => name.to_string(),
            Self::Str(_) => "string".to_owned(),
            Self::Int(_) => "integer".to_owned(),
            Self::Float(_) => "float".to_owned(),
            Self::Op(op) => (*op).to_owned(),
            Self::Eof => "end of template".to_owned(),
        }
    }

    pub(crate) fn is_name(&self, name: &str) -> bool {
        matches!(self, Self::Name(found) if **found == *name)
    }

    pub(crate) fn is_op(&self, op: &str) -> bool {
        matches!(self, Self::Op(found) if *found == op)
    }
}

/// The longest first.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

/// The tokens of a template with their lines; the last is [`Token::Eof`].
pub(crate) fn tokenize(source: &str) -> Result<Vec<(Token, u32)>> {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    let mut lexer = Lexer {
        text: &text,
        at: 0,
        line: 1,
        line_starting: true,
        tokens: Vec::new(),
    };
    lexer.root()?;
    let line = lexer.line;
    lexer.tokens.push((Token::Eof, line));
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    /// Whether what was matched last ended with a line end.
    line_starting: bool,
    tokens: Vec<(Token, u32)>,
}

fn newlines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Goes `bytes` on, counting lines.
    fn advance(&mut self, bytes: usize) {
        let passed = self.rest().get(..bytes).unwrap_or("");
        self.line += newlines(passed);
        self.line_starting = passed.ends_with('\n');
        self.at += bytes;
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    fn data(&mut self, text: &str) {
        if !text.is_empty() {
            self.push(Token::Data(text.into()));
        }
    }

    fn root(&mut self) -> Result<()> {
        loop {
            let rest = self.rest();
            let mut found = rest.match_indices('{').filter_map(|(at, _)| {
                let kind = *rest.as_bytes().get(at + 1)?;
                matches!(kind, b'{' | b'%' | b'#').then_some((at, kind))
            });
            let Some((at, kind)) = found.next() else {
                self.data(rest);
                self.advance(rest.len());
                return Ok(());
            };
            let (before, tag) = rest.split_at(at);
            let sign = match tag.as_bytes().get(2) {
                Some(sign @ (b'-' | b'+')) => Some(*sign),
                _ => None,
            };
            self.data(self.stripped(before, sign, kind != b'{'));
            let begin = 2 + usize::from(sign.is_some());
            if kind == b'%'
                && let Some(length) = raw_begin(tag, begin)
            {
                self.advance(at + length);
                self.raw()?;
                continue;
            }
            self.advance(at);
            match kind {
                b'#' => {
                    self.advance(begin);
                    self.comment()?;
                }
                b'%' => {
                    self.push(Token::BlockBegin);
                    self.advance(begin);
                    self.tag(true)?;
                }
                _ => {
                    self.push(Token::VariableBegin);
                    self.advance(begin);
                    self.tag(false)?;
                }
            }
        }
    }

    /// The text before a tag, without the white space that the tag takes away.
    fn stripped(&self, text: &'a str, sign: Option<u8>, is_block: bool) -> &'a str {
        if sign == Some(b'-') {
            return text.trim_end_matches(is_space);
        }
        if sign == Some(b'+') || !is_block {
            return text;
        }
        let line = text.rfind('\n').map_or(0, |at| at + 1);
        let (before, last) = text.split_at(line);
        let blank = !last.is_empty() && last.chars().all(is_space);
        if blank && (line > 0 || self.line_starting) {
            before
        } else {
            text
        }
    }

    fn comment(&mut self) -> Result<()> {
        let rest = self.rest();
        let Some(at) = rest.find("#}") else {
            return Err(Error::syntax("Missing end of comment tag", self.line));
        };
        let length = at + 2;
        let tail = rest.get(length..).unwrap_or("");
        let sign = at.checked_sub(1).and_then(|at| rest.as_bytes().get(at));
        self.advance(length + end_width(tail, sign.copied(), true));
        Ok(())
    }

    fn raw(&mut self) -> Result<()> {
        let rest = self.rest();
        let end = rest
            .match_indices("{%")
            .find_map(|(at, _)| raw_end(rest.get(at..)?).map(|(length, sign)| (at, length, sign)));
        let Some((at, length, sign)) = end else {
            return Err(Error::syntax("Missing end of raw directive", self.line));
        };
        let before = rest.get(..at).unwrap_or("");
        self.data(self.stripped(before, sign, true));
        self.advance(at + length);
        Ok(())
    }

    /// The tokens of an expression or a statement, up to its end.
    fn tag(&mut self, block: bool) -> Result<()> {
        let mut open: Vec<char> = Vec::new();
        loop {
            let rest = self.rest();
            if open.is_empty()
                && let Some(length) = tag_end(rest, block)
            {
                self.push(if block {
                    Token::BlockEnd
                } else {
                    Token::VariableEnd
                });
                self.advance(length);
                return Ok(());
            }
            let Some(c) = rest.chars().next() else {
                return Ok(());
            };
            if is_space(c) {
                let length = rest.len() - rest.trim_start_matches(is_space).len();
                self.advance(length);
            } else if let Some((token, length)) = self.number(rest)? {
                self.push(token);
                self.advance(length);
            } else if is_word(c) {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let name = rest.get(..length).unwrap_or("");
                let start = name.chars().next().unwrap_or('_');
                if start != '_' && !unicode_ident::is_xid_start(start) {
                    return Err(Error::syntax("Invalid character in identifier", self.line));
                }
                self.push(Token::Name(name.into()));
                self.advance(length);
            } else if c == '\'' || c == '"' {
                let Some(length) = string_length(rest, c) else {
                    return Err(self.unexpected(c));
                };
                let inner = rest.get(1..length - 1).unwrap_or("");
                let text = unescape(inner).map_err(|message| Error::syntax(message, self.line))?;
                self.push(Token::Str(text));
                self.advance(length);
            } else if let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) {
                match *op {
                    "{" => open.push('}'),
                    "(" => open.push(')'),
                    "[" => open.push(']'),
                    "}" | ")" | "]" => match open.pop() {
                        None => {
                            return Err(Error::syntax(format!("unexpected '{op}'"), self.line));
                        }
                        Some(expected) if !op.starts_with(expected) => {
                            return Err(Error::syntax(
                                format!("unexpected '{op}', expected '{expected}'"),
                                self.line,
                            ));
                        }
                        Some(_) => {}
                    },
                    _ => {}
                }
                self.push(Token::Op(op));
                self.advance(op.len());
            } else {
                return Err(self.unexpected(c));
            }
        }
    }

    fn unexpected(&self, c: char) -> Error {
        let at = self
            .text
            .get(..self.at)
            .map_or(0, |text| text.chars().count());
        let c = crate::quote::string_repr(&c.to_string());
        Error::syntax(format!("unexpected char {c} at {at}"), self.line)
    }

    fn number(&self, rest: &str) -> Result<Option<(Token, usize)>> {
        let bytes = rest.as_bytes();
        if !bytes.first().is_some_and(u8::is_ascii_digit) {
            return Ok(None);
        }
        let after_dot = self.at > 0 && self.text.as_bytes().get(self.at - 1) == Some(&b'.');
        if !after_dot && let Some(length) = float_length(bytes) {
            let digits = rest.get(..length).unwrap_or("").replace('_', "");
            let value: f64 = digits.parse().unwrap_or(f64::NAN);
            return Ok(Some((Token::Float(value), length)));
        }
        let (radix, start, length) = integer_length(bytes);
        let digits = rest.get(start..length).unwrap_or("").replace('_', "");
        if radix == 10 && digits.len() > crate::number::MAX_DIGITS {
            return Err(Error::syntax(
                crate::number::too_many_digits(digits.len()),
                self.line,
            ));
        }
        let value = BigInt::from_str_radix(&digits, radix)
            .map_err(|error| Error::syntax(error.to_string(), self.line))?;
        Ok(Some((Token::Int(value), length)))
    }
}

fn is_word(c: char) -> bool {
    c == '_' || unicode_ident::is_xid_continue(c) || c.is_alphanumeric()
}

/// The length of `{% raw %}` at the start of `tag`, whose name starts at `at`.
fn raw_begin(tag: &str, at: usize) -> Option<usize> {
    let rest = tag.get(at..)?.trim_start_matches(is_space);
    let rest = rest.strip_prefix("raw")?.trim_start_matches(is_space);
    let rest = match rest.strip_prefix("-%}") {
        Some(rest) => rest.trim_start_matches(is_space),
        None => rest.strip_prefix("%}")?,
    };
    Some(tag.len() - rest.len())
}

/// The length of `{% endraw %}` at the start of `tag`, and the sign after its first bracket.
fn raw_end(tag: &str) -> Option<(usize, Option<u8>)> {
    let rest = tag.strip_prefix("{%")?;
    let sign = rest
        .bytes()
        .next()
        .filter(|byte| matches!(byte, b'-' | b'+'));
    let rest = rest.get(usize::from(sign.is_some())..)?;
    let rest = rest.trim_start_matches(is_space).strip_prefix("endraw")?;
    let rest = rest.trim_start_matches(is_space);
    let length = tag_end(rest, true)?;
    Some((tag.len() - rest.len() + length, sign))
}

/// The length of the end of a tag, with the white space that it takes away.
fn tag_end(rest: &str, block: bool) -> Option<usize> {
    let close = if block { "%}" } else { "}}" };
    let (sign, width) = match rest.as_bytes().first()? {
        b'-' => (Some(b'-'), 1),
        b'+' if block => (Some(b'+'), 1),
        _ => (None, 0),
    };
    let tail = rest.get(width..)?.strip_prefix(close)?;
    Some(width + 2 + end_width(tail, sign, block))
}

fn end_width(tail: &str, sign: Option<u8>, block: bool) -> usize {
    match sign {
        Some(b'-') => tail.len() - tail.trim_start_matches(is_space).len(),
        Some(b'+') => 0,
        _ => usize::from(block && tail.starts_with('\n')),
    }
}
