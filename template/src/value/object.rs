//! Values that are neither numbers nor text nor plain containers.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::types::{Cycler, Dict, Method, Namespace, Object, Value, View, ViewKind};
use crate::{
    error::{Result, limit},
    limits::{MAX_VALUE_DEPTH, reserve},
};

impl View {
    /// Keys and items behave as sets, which cannot be keys; values do not.
    pub(crate) fn hashable_like_a_set(&self) -> bool {
        self.kind != ViewKind::Values
    }

    pub(crate) fn at(&self, index: usize) -> Result<Option<Value>> {
        view_item(&self.dict, self.kind, index)
    }
}

pub(crate) fn view_item(dict: &Dict, kind: ViewKind, index: usize) -> Result<Option<Value>> {
    let Some((key, value)) = dict.at(index) else {
        return Ok(None);
    };
    Ok(Some(match kind {
        ViewKind::Keys => key.clone(),
        ViewKind::Values => value.clone(),
        ViewKind::Items => Value::tuple(vec![key.clone(), value.clone()])?,
    }))
}

impl Namespace {
    pub(crate) fn new() -> Self {
        Self {
            attributes: RefCell::default(),
            printing: Cell::new(false),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.attributes.borrow().get(name).cloned()
    }

    pub(crate) fn set(&self, name: Arc<str>, value: Value) -> Result<()> {
        // Counted as work only: a template has as many namespaces as it names, and few attributes in each.
        reserve(size_of::<Value>())?;
        self.attributes.borrow_mut().insert(name, value);
        Ok(())
    }
}

impl Method {
    pub(crate) fn bound(of: Value, name: &'static str) -> Result<Value> {
        let depth = of.depth() + 1;
        if depth > MAX_VALUE_DEPTH {
            return Err(limit("methods of methods are nested too deeply"));
        }
        Ok(Value::Object(Object::Method(Rc::new(Self {
            of,
            name,
            depth,
        }))))
    }
}

impl Cycler {
    pub(crate) fn items(&self) -> &[Value] {
        match &self.items {
            Value::Tuple(seq) => &seq.items,
            _ => &[],
        }
    }

    pub(crate) fn current(&self) -> Value {
        self.items()
            .get(self.at.get())
            .cloned()
            .unwrap_or(Value::None)
    }
}
