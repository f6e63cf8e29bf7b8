//! The `loop` variable.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use crate::value::{
    Activation, Args, Generate, Interp, LoopVariable, Method, Object, Release, Value, same_or_equal,
};
use crate::{
    ast::For,
    error::{Result, type_error, value_error},
    iter::{Iter, Source},
};

/// The items that the `if` of a loop lets through.
pub(super) struct Filtered(
    pub(super) Source,
    pub(super) Arc<For>,
    pub(super) Rc<Activation>,
);

impl Generate for Filtered {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        let Self(source, node, activation) = self;
        while let Some(item) = source.next(interp)? {
            if interp.passes(node, activation, &item)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}

/// Where a loop is, and how to run its body again.
pub(super) struct Loop {
    iter: RefCell<Iter>,
    index0: Cell<i64>,
    /// The item after the current one, if it was asked for.
    after: RefCell<Option<Option<Value>>>,
    current: RefCell<Option<Value>>,
    before: RefCell<Option<Value>>,
    length: Cell<Option<usize>>,
    depth0: u32,
    recursion: Option<(Arc<For>, Rc<Activation>)>,
    changed: RefCell<Option<Vec<Value>>>,
    depth: u16,
}

impl Loop {
    pub(super) fn new(
        iter: Iter,
        length: Option<usize>,
        depth: u16,
        depth0: u32,
        recursion: Option<(Arc<For>, Rc<Activation>)>,
    ) -> Self {
        Self {
            iter: RefCell::new(iter),
            index0: Cell::new(-1),
            after: RefCell::new(None),
            current: RefCell::new(None),
            before: RefCell::new(None),
            length: Cell::new(length),
            depth0,
            recursion,
            changed: RefCell::new(None),
            depth,
        }
    }

    fn take(&self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        match self.iter.try_borrow_mut() {
            Ok(mut iter) => iter.next(interp),
            Err(_) => Err(value_error("generator already executing")),
        }
    }

    /// The next item, which becomes the current one.
    pub(super) fn next(&self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        let peeked = self.after.borrow_mut().take();
        let item = match peeked {
            Some(item) => item,
            None => self.take(interp)?,
        };
        if let Some(item) = &item {
            self.index0.set(self.index0.get() + 1);
            let current = self.current.replace(Some(item.clone()));
            self.before.replace(current);
        }
        Ok(item)
    }

    fn peek(&self, interp: &mut Interp<'_>) -> Result<Option<Value>> {
        let peeked = self.after.borrow().clone();
        if let Some(item @ Some(_)) = peeked {
            return Ok(item);
        }
        let item = self.take(interp)?;
        self.after.replace(item.clone().map(Some));
        Ok(item)
    }

    fn index(&self) -> i64 {
        self.index0.get() + 1
    }
}

impl LoopVariable for Loop {
    fn depth(&self) -> u16 {
        self.depth
    }

    fn length(&self, interp: &mut Interp<'_>) -> Result<usize> {
        if let Some(length) = self.length.get() {
            return Ok(length);
        }
        let iter = self.iter.replace(Iter::Empty);
        let rest = iter.collect(interp)?;
        let peeked = matches!(*self.after.borrow(), Some(Some(_)));
        let passed = usize::try_from(self.index()).unwrap_or(0);
        let length = rest.len() + passed + usize::from(peeked);
        if let Value::List(rest) = Value::list(rest)? {
            self.iter.replace(Iter::Seq(rest, 0));
        }
        self.length.set(Some(length));
        Ok(length)
    }

    fn repr(&self, interp: &mut Interp<'_>) -> Result<String> {
        let length = self.length(interp)?;
        Ok(format!("<LoopContext {}/{length}>", self.index()))
    }

    fn attribute(self: Rc<Self>, interp: &mut Interp<'_>, name: &str) -> Result<Option<Value>> {
        let mut from_end = |index: i64| -> Result<Value> {
            let length = i64::try_from(self.length(interp)?).unwrap_or(i64::MAX);
            Ok(Value::Int(length - index))
        };
        Ok(Some(match name {
            "index" => Value::Int(self.index()),
            "index0" => Value::Int(self.index0.get()),
            "revindex" => from_end(self.index0.get())?,
            "revindex0" => from_end(self.index())?,
            "length" => from_end(0)?,
            "first" => Value::Bool(self.index0.get() == 0),
            "last" => Value::Bool(self.peek(interp)?.is_none()),
            "depth" => Value::Int(i64::from(self.depth0) + 1),
            "depth0" => Value::Int(i64::from(self.depth0)),
            "previtem" => match self.before.borrow().clone() {
                Some(item) if self.index0.get() > 0 => item,
                _ => Value::undefined("there is no previous item"),
            },
            "nextitem" => match self.peek(interp)? {
                Some(item) => item,
                None => Value::undefined("there is no next item"),
            },
            "cycle" => Method::bound(Value::Object(Object::Loop(self)), "cycle")?,
            "changed" => Method::bound(Value::Object(Object::Loop(self)), "changed")?,
            _ => return Ok(None),
        }))
    }

    fn call_method(
        self: Rc<Self>,
        interp: &mut Interp<'_>,
        name: &str,
        args: Args,
    ) -> Result<Value> {
        let items = args.only_positional(&format!("LoopContext.{name}"))?;
        if name == "cycle" {
            if items.is_empty() {
                return Err(type_error("no items for cycling given"));
            }
            let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let at = usize::try_from(self.index0.get().rem_euclid(count)).unwrap_or(0);
            return Ok(items.get(at).cloned().unwrap_or(Value::None));
        }
        let same = match &*self.changed.borrow() {
            Some(last) if last.len() == items.len() => {
                let mut same = true;
                for (a, b) in last.iter().zip(&items) {
                    same &= same_or_equal(a, b)?;
                }
                same
            }
            _ => false,
        };
        if !same && self.changed.replace(Some(items)).is_none() {
            interp.hold(self, size_of::<Self>())?;
        }
        Ok(Value::Bool(!same))
    }

    fn recurse(&self, interp: &mut Interp<'_>, args: Args) -> Result<Value> {
        let [iterable] = args.bind("LoopContext.__call__", ["iterable"], 1)?;
        let Some((node, around)) = &self.recursion else {
            return Err(type_error(
                "The loop must have the 'recursive' marker to be called recursively.",
            ));
        };
        let items = iterable.unwrap_or(Value::None);
        interp.recursive_loop(node, around, &items, self.depth0 + 1)
    }
}

impl Release for Loop {
    fn release(&self) {
        self.changed.replace(None);
    }
}
