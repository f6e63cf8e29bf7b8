//! Text that is being written.

use super::text::Text;
use crate::{
    error::Result,
    limits::{Tracked, reserve, scan},
};

/// Text that is being written, within the memory allowed.
#[derive(Debug)]
pub(crate) struct Buffer {
    text: String,
    tracked: Tracked,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self {
            text: String::new(),
            tracked: Tracked::new(0),
        }
    }

    pub(crate) fn push_str(&mut self, text: &str) -> Result<()> {
        reserve(text.len())?;
        self.tracked.grow(text.len());
        self.text.push_str(text);
        Ok(())
    }

    /// As [`Self::push_str`] of a text that is not needed afterwards: a long one becomes the buffer.
    pub(crate) fn push_text(&mut self, mut text: Text) -> Result<()> {
        if text.as_str().len() <= self.text.len() {
            return self.push_str(text.as_str());
        }
        let Some(mut long) = text.take_long() else {
            return self.push_str(text.as_str());
        };
        scan(long.len())?;
        self.tracked.grow(long.len());
        long.insert_str(0, &self.text);
        self.text = long;
        Ok(())
    }

    pub(crate) fn push(&mut self, c: char) -> Result<()> {
        self.push_str(c.encode_utf8(&mut [0; 4]))
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }
}

impl From<Buffer> for Text {
    fn from(buffer: Buffer) -> Self {
        Self::from(buffer.into_string())
    }
}
