//! The state of a render.

use std::{collections::HashMap, rc::Rc};

use jiff::civil::DateTime;

use super::types::{Activation, Dict, Filter, Interp, Library, Namespace, Release, Test};
use crate::{
    error::{Result, limit},
    limits::{MAX_CALLS, Tracked, check_stack, reserve},
};

impl Library {
    /// The filter of this name.
    pub(crate) fn filter(&self, name: &str) -> Option<Filter> {
        let (_, filter) = self.filters.iter().find(|(known, _)| *known == name)?;
        Some(*filter)
    }

    /// The test of this name.
    pub(crate) fn test(&self, name: &str) -> Option<Test> {
        let (_, test) = self.tests.iter().find(|(known, _)| *known == name)?;
        Some(*test)
    }
}

impl Release for Namespace {
    fn release(&self) {
        drop(self.attributes.take());
    }
}

impl Release for Activation {
    fn release(&self) {
        self.clear();
    }
}

impl Drop for Interp<'_> {
    fn drop(&mut self) {
        // One by one, while the list still holds all of them: no long chain falls at once.
        for held in &self.held {
            held.release();
        }
    }
}

impl<'a> Interp<'a> {
    pub(crate) fn new(library: &'static Library, context: &'a Dict, now: Option<DateTime>) -> Self {
        Self {
            library,
            context,
            exported: HashMap::new(),
            autoescape: false,
            line: 0,
            now,
            calls: 0,
            held: Vec::new(),
            held_bytes: Tracked::new(0),
        }
    }

    /// Keeps something until the end of the render, when it is emptied.
    pub(crate) fn hold(&mut self, held: Rc<dyn Release>, bytes: usize) -> Result<()> {
        let bytes = bytes + size_of::<Rc<dyn Release>>();
        reserve(bytes)?;
        self.held_bytes.grow(bytes);
        self.held.push(held);
        Ok(())
    }

    pub(crate) fn hold_activation(&mut self, activation: &Rc<Activation>) -> Result<()> {
        if activation.hold() {
            return Ok(());
        }
        self.hold(activation.clone(), activation.bytes())
    }

    /// One call deeper, up to the limit.
    pub(crate) fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.calls >= MAX_CALLS {
            return Err(limit(format!(
                "more than {MAX_CALLS} calls inside each other (an endless recursion?)"
            )));
        }
        check_stack()?;
        self.calls += 1;
        let line = self.line;
        let done = run(self)?;
        self.line = line;
        self.calls -= 1;
        Ok(done)
    }
}
