//! Bytes of the input with their place, taken off a line or a JSON value at a
//! time without parsing.

use std::io::{self, BufRead};

/// A place in the input: line and byte in the line, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// The place just after `bytes` that stand here.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        match bytes.iter().rposition(|&byte| byte == b'\n') {
            None => Self {
                column: self.column + bytes.len(),
                ..self
            },
            Some(last) => Self {
                line: self.line + bytes.iter().filter(|&&byte| byte == b'\n').count(),
                column: bytes.len() - last,
            },
        }
    }
}

/// How taking a line or a value ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Complete,
    /// The input ended first.
    Cut,
    /// It exceeds the limit. The rest of a line is still in the input, that of
    /// a value is taken off.
    TooLong,
}

#[derive(Debug)]
pub(super) struct Source<R> {
    input: R,
    /// The end was met. Not asked again: at a terminal that would wait for a
    /// second end of input.
    ended: bool,
    pub(super) position: Position,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            ended: false,
            position: Position::START,
        }
    }

    pub(super) fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Otherwise the input has bytes at hand.
    fn is_at_end(&mut self) -> io::Result<bool> {
        while !self.ended {
            match self.input.fill_buf() {
                Ok([]) => self.ended = true,
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.ended)
    }

    /// The next byte, which stays in the input.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.is_at_end()? {
            return Ok(None);
        }
        Ok(self.input.fill_buf()?.first().copied())
    }

    /// Takes off the byte that was peeked.
    pub(super) fn bump(&mut self, byte: u8) {
        self.input.consume(1);
        self.position = self.position.after(&[byte]);
    }

    /// Takes off white space; gives the byte after it, which stays.
    pub(super) fn skip_whitespace(&mut self) -> io::Result<Option<u8>> {
        loop {
            let next = self.peek()?;
            match next {
                Some(byte) if is_whitespace(byte) => self.bump(byte),
                _ => return Ok(next),
            }
        }
    }

    /// Appends the rest of the line to `buffer`, without its end, while the
    /// buffer holds at most `limit` bytes.
    pub(super) fn take_line(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Taken> {
        loop {
            if self.is_at_end()? {
                return Ok(Taken::Cut);
            }
            let chunk = self.input.fill_buf()?;
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let line = &chunk[..end.unwrap_or(chunk.len())];
            if line.len() > limit.saturating_sub(buffer.len()) {
                return Ok(Taken::TooLong);
            }
            buffer.extend_from_slice(line);
            let used = line.len() + usize::from(end.is_some());
            self.position = self.position.after(&chunk[..used]);
            self.input.consume(used);
            if end.is_some() {
                return Ok(Taken::Complete);
            }
        }
    }

    /// Takes off the rest of the line without keeping it.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        while !self.is_at_end()? {
            let chunk = self.input.fill_buf()?;
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.position = self.position.after(&chunk[..used]);
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Appends bytes to `buffer` up to the end of the JSON value that `scanner`
    /// is in, while the buffer holds at most `limit` bytes.
    pub(super) fn take_value(
        &mut self,
        scanner: &mut Scanner,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> io::Result<Taken> {
        let mut is_too_long = false;
        loop {
            if self.is_at_end()? {
                return Ok(if is_too_long {
                    Taken::TooLong
                } else {
                    Taken::Cut
                });
            }
            let chunk = self.input.fill_buf()?;
            let mut used = 0;
            let mut step = Step::Inside;
            while let Some(&byte) = chunk.get(used) {
                step = scanner.step(byte);
                if step != Step::Outside {
                    used += 1;
                }
                if step != Step::Inside {
                    break;
                }
            }
            is_too_long |= used > limit.saturating_sub(buffer.len());
            if !is_too_long {
                buffer.extend_from_slice(&chunk[..used]);
            }
            self.position = self.position.after(&chunk[..used]);
            self.input.consume(used);
            if step != Step::Inside {
                return Ok(match is_too_long {
                    true => Taken::TooLong,
                    false => Taken::Complete,
                });
            }
        }
    }

    /// Takes bytes off until `scanner` is no deeper than `depth`.
    pub(super) fn skip_to_depth(&mut self, scanner: &mut Scanner, depth: usize) -> io::Result<()> {
        while scanner.depth > depth
            && let Some(byte) = self.peek()?
        {
            scanner.step(byte);
            self.bump(byte);
        }
        Ok(())
    }
}

pub(super) fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What a byte is to the value being scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Part of it, and more follows.
    Inside,
    /// Its last byte.
    Last,
    /// Not part of it: the value, a number or a word, ended before.
    Outside,
}

/// Finds where a JSON value ends. Only brackets and strings matter for that;
/// whether the value is well-formed is the parser's concern.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    pub(super) depth: usize,
    pub(super) in_string: bool,
    escaped: bool,
}

impl Scanner {
    pub(super) fn step(&mut self, byte: u8) -> Step {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_string = false;
                    if self.depth == 0 {
                        return Step::Last;
                    }
                }
                _ => {}
            }
            return Step::Inside;
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' if self.depth == 0 => return Step::Outside,
            b']' | b'}' => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Step::Last;
                }
            }
            b',' if self.depth == 0 => return Step::Outside,
            _ if self.depth == 0 && is_whitespace(byte) => return Step::Outside,
            _ => {}
        }
        Step::Inside
    }
}
