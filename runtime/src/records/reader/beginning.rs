//! What an input is: by its first value, of which no more is held than a record may have.

use std::io::{self, BufRead};

use super::{Item, Layout, RecordReader};
use crate::records::{
    error::{RecordError, RecordErrorKind},
    format::Format,
    source::{Position, Scanner, Step, is_whitespace},
};

/// What the beginning of the input turned out to be. The buffer holds what was
/// taken off it.
enum Beginning {
    /// One line. The buffer holds all of it if `is_whole`.
    Line { is_whole: bool },
    /// A value that spans lines; the buffer holds it.
    Value,
    /// A list without elements.
    EmptyList { spans: bool },
    /// A list of records. The buffer holds the first, and it starts at `first`;
    /// or nothing was taken off but the bracket.
    List { first: Option<Position> },
    /// A first record that is longer than the limit; it is taken off, but for the
    /// rest of a line.
    TooLong {
        layout: Layout,
        /// Where it starts in a list.
        element: Option<Position>,
    },
}

impl<R: BufRead> RecordReader<R> {
    pub(super) fn read_first(&mut self) -> Result<Option<Item>, RecordError> {
        self.read_first_as_json().map_err(|error| {
            let format = Format::of(&self.buffer);
            match (&*error.kind, format) {
                (RecordErrorKind::Io(_), _) | (_, None) => error,
                (_, Some(format)) => RecordError {
                    kind: RecordErrorKind::format(format).into(),
                    is_fatal: true,
                    ..error
                },
            }
        })
    }

    fn read_first_as_json(&mut self) -> Result<Option<Item>, RecordError> {
        if !self.skip_byte_order_mark()? {
            // Half a mark is not UTF-8, which the line's error will say.
            self.layout = Layout::Lines;
            return self.read_line(Position::START).map(Some);
        }
        let Some(first) = self.skip_whitespace()? else {
            return Ok(None);
        };
        let start = self.source.position;
        let beginning = self
            .begin(first)
            .map_err(|error| self.fail(start, RecordErrorKind::Io(error)))?;
        match beginning {
            Beginning::Line { is_whole } => {
                self.layout = Layout::Lines;
                if is_whole {
                    self.parse(start).map(Some)
                } else {
                    self.read_line(start).map(Some)
                }
            }
            Beginning::Value => {
                self.layout = Layout::Values;
                self.parse(start).map(Some)
            }
            Beginning::EmptyList { spans } => {
                self.layout = if spans { Layout::Values } else { Layout::Lines };
                let line = self.source.position.line;
                if self.skip_whitespace()?.is_none() {
                    Ok(None)
                } else if self.source.position.line == line {
                    self.read_line(start).map(Some)
                } else {
                    self.parse(start).map(Some)
                }
            }
            Beginning::List { first: None } => self.read_element(0),
            Beginning::List { first: Some(start) } => {
                self.layout = Layout::List(1);
                self.parse(start).map(Some)
            }
            Beginning::TooLong { layout, element } => {
                self.layout = layout;
                Err(self.too_long(element.unwrap_or(start)))
            }
        }
    }

    /// Takes off as much of the input as shows its layout.
    fn begin(&mut self, first: u8) -> io::Result<Beginning> {
        if !matches!(first, b'{' | b'[') {
            return Ok(Beginning::Line { is_whole: false });
        }
        let mut scanner = Scanner::default();
        // Whether the value goes on after its first line, and whether the next
        // byte has yet to confirm that.
        let (mut spans, mut is_open) = (false, false);
        let mut previous = first;
        let mut element = None;
        let mut is_conversation = false;
        while let Some(byte) = self.source.peek()? {
            // The bracket of a list is no part of its first record.
            let record = match element {
                Some((offset, _)) if !is_conversation => offset,
                _ => 0,
            };
            if self.buffer.len() - record >= self.max_record_bytes {
                if !spans {
                    let layout = Layout::Lines;
                    return Ok(Beginning::TooLong {
                        layout,
                        element: None,
                    });
                }
                let (depth, layout, element) = match element {
                    Some((_, start)) if !is_conversation => (1, Layout::List(1), Some(start)),
                    _ => (0, Layout::Values, None),
                };
                self.source.skip_to_depth(&mut scanner, depth)?;
                return Ok(Beginning::TooLong { layout, element });
            }
            if byte == b'\n' && scanner.in_string {
                self.source.bump(byte);
                return Ok(Beginning::Line { is_whole: true });
            }
            if byte == b'\n' && !spans {
                is_open = true;
            } else if !is_whitespace(byte) {
                if is_open && !may_follow(previous, byte) {
                    return Ok(Beginning::Line { is_whole: true });
                }
                spans |= is_open;
                is_open = false;
                previous = byte;
                if first == b'[' && scanner.depth == 1 && element.is_none() {
                    match byte {
                        b'{' => element = Some((self.buffer.len(), self.source.position)),
                        b']' => {}
                        _ => {
                            self.buffer.clear();
                            return Ok(Beginning::List { first: None });
                        }
                    }
                }
            }
            let step = scanner.step(byte);
            self.buffer.push(byte);
            self.source.bump(byte);
            if step == Step::Last {
                return Ok(if first == b'[' && element.is_none() {
                    Beginning::EmptyList { spans }
                } else if spans {
                    Beginning::Value
                } else {
                    Beginning::Line { is_whole: false }
                });
            }
            if let (Some((offset, start)), 1, false) = (element, scanner.depth, is_conversation) {
                // What a malformed element of a line is meant to be matters
                // little: the line is wrong.
                is_conversation = self
                    .rows
                    .parse(&self.buffer[offset..], Position::START)
                    .map_or(!spans, |raw| raw.is_message());
                if !is_conversation {
                    self.buffer.drain(..offset);
                    return Ok(Beginning::List { first: Some(start) });
                }
            }
        }
        Ok(if spans {
            Beginning::Value
        } else {
            Beginning::Line { is_whole: false }
        })
    }

    /// False when the input begins with a part of the mark only; that part is
    /// in the buffer then.
    fn skip_byte_order_mark(&mut self) -> Result<bool, RecordError> {
        for expected in [0xEF, 0xBB, 0xBF] {
            let next = self
                .source
                .peek()
                .map_err(|error| self.fail(Position::START, RecordErrorKind::Io(error)))?;
            if next != Some(expected) {
                return Ok(self.buffer.is_empty());
            }
            self.source.bump(expected);
            self.buffer.push(expected);
        }
        self.buffer.clear();
        self.source.position = Position::START;
        Ok(true)
    }
}

/// Whether a value broken at a line end between these two bytes may be
/// well-formed. If not, the line is one that was cut off.
fn may_follow(before: u8, after: u8) -> bool {
    match before {
        b'[' | b',' | b':' => true,
        b'{' => matches!(after, b'"' | b'}'),
        _ => matches!(after, b',' | b':' | b']' | b'}'),
    }
}
