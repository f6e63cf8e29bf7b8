//! Values that are neither numbers nor text nor plain containers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::ast::MacroDef;
use crate::dict::Dict;
use crate::error::{Result, limit, value_error};
use crate::eval::Activation;
use crate::iter::IterObject;
use crate::limits::{MAX_VALUE_DEPTH, reserve};
use crate::loops::Loop;
use crate::number::{Number, exact_i64};
use crate::value::Value;

/// A value with a state or a behaviour of its own.
#[derive(Clone)]
#[non_exhaustive]
#[allow(private_interfaces)]
pub enum Object {
    /// `range(…)`.
    Range(Rc<Range>),
    /// `dict.keys()` and the like.
    View(Rc<View>),
    /// `namespace(…)`.
    Namespace(Rc<Namespace>),
    /// A macro, or `caller`.
    Macro(Rc<Macro>),
    /// `loop`.
    Loop(Rc<Loop>),
    /// A generator.
    Iterator(Rc<IterObject>),
    /// A method with the value that it belongs to.
    Method(Rc<Method>),
    /// A global function.
    Function(&'static str),
    /// `cycler(…)`.
    Cycler(Rc<Cycler>),
    /// `joiner(…)`.
    Joiner(Rc<Joiner>),
}

/// The numbers of a `range`.
#[derive(Clone)]
pub(crate) struct Range {
    start: i64,
    stop: i64,
    step: i64,
    len: usize,
}

impl Range {
    pub(crate) fn new(start: i64, stop: i64, step: i64) -> Result<Self> {
        if step == 0 {
            return Err(value_error("range() arg 3 must not be zero"));
        }
        let (from, to) = (i128::from(start), i128::from(stop));
        let distance = if step > 0 { to - from } else { from - to };
        let width = i128::from(step).abs();
        let len = if distance <= 0 {
            0
        } else {
            (distance + width - 1) / width
        };
        Ok(Self {
            start,
            stop,
            step,
            len: usize::try_from(len).unwrap_or(usize::MAX),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    pub(crate) fn stop(&self) -> i64 {
        self.stop
    }

    pub(crate) fn step(&self) -> i64 {
        self.step
    }

    pub(crate) fn at(&self, index: usize) -> Option<Value> {
        let index = i64::try_from(index).ok().filter(|_| index < self.len)?;
        Some(Value::Int(self.start + self.step * index))
    }

    pub(crate) fn index_of(&self, number: &Number) -> Option<usize> {
        let value = match number {
            Number::Int(value) => *value,
            Number::Float(value) => exact_i64(*value)?,
            Number::Big(_) => return None,
        };
        let offset = i128::from(value) - i128::from(self.start);
        let step = i128::from(self.step);
        if offset % step != 0 {
            return None;
        }
        usize::try_from(offset / step)
            .ok()
            .filter(|index| *index < self.len)
    }

    pub(crate) fn contains(&self, number: &Number) -> bool {
        self.index_of(number).is_some()
    }

    /// The positions `start`, `start + step`, … as a range again.
    pub(crate) fn slice(&self, start: i64, stop: i64, step: i64) -> Result<Self> {
        let place = |index: i64| self.start.saturating_add(self.step.saturating_mul(index));
        Self::new(place(start), place(stop), self.step.saturating_mul(step))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViewKind {
    Keys,
    Values,
    Items,
}

pub(crate) struct View {
    pub(crate) kind: ViewKind,
    pub(crate) dict: Rc<Dict>,
}

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

/// Attributes that a template may set: the one thing that changes.
pub(crate) struct Namespace {
    pub(crate) attributes: RefCell<indexmap::IndexMap<Arc<str>, Value>>,
    pub(crate) printing: Cell<bool>,
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

pub(crate) struct Macro {
    pub(crate) def: Arc<MacroDef>,
    pub(crate) around: Rc<Activation>,
}

pub(crate) struct Method {
    pub(crate) of: Value,
    pub(crate) name: &'static str,
    depth: u16,
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

pub(crate) struct Cycler {
    pub(crate) items: Value,
    pub(crate) at: Cell<usize>,
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

pub(crate) struct Joiner {
    pub(crate) separator: Value,
    pub(crate) used: Cell<bool>,
}

impl Object {
    pub(crate) fn depth(&self) -> u16 {
        match self {
            Self::View(view) => view.dict.depth(),
            Self::Loop(state) => state.depth(),
            Self::Iterator(iterator) => iterator.depth,
            Self::Method(method) => method.depth,
            Self::Cycler(cycler) => cycler.items.depth(),
            Self::Joiner(joiner) => joiner.separator.depth(),
            // What these hold is let go of at the end of a render, one by one.
            Self::Namespace(_) | Self::Macro(_) | Self::Range(_) | Self::Function(_) => 0,
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Range(_) => "range",
            Self::View(view) => match view.kind {
                ViewKind::Keys => "dict_keys",
                ViewKind::Values => "dict_values",
                ViewKind::Items => "dict_items",
            },
            Self::Namespace(_) => "TemplateNamespace",
            Self::Macro(_) => "Macro",
            Self::Loop(_) => "LoopContext",
            Self::Iterator(iterator) => iterator.type_name,
            Self::Method(_) => "builtin_function_or_method",
            Self::Function("dict") => "TemplateDict",
            Self::Function("range" | "raise_exception" | "strftime_now" | "lipsum") => "function",
            Self::Function(_) => "type",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Range(range) => range.len() > 0,
            Self::View(view) => !view.dict.is_empty(),
            _ => true,
        }
    }

    /// What tells one object from another.
    pub(crate) fn address(&self) -> usize {
        match self {
            Self::Range(range) => Rc::as_ptr(range) as usize,
            Self::View(view) => Rc::as_ptr(view) as usize,
            Self::Namespace(namespace) => Rc::as_ptr(namespace) as usize,
            Self::Macro(definition) => Rc::as_ptr(definition) as usize,
            Self::Loop(state) => Rc::as_ptr(state) as usize,
            Self::Iterator(iterator) => Rc::as_ptr(iterator) as usize,
            Self::Method(method) => Rc::as_ptr(method) as usize,
            Self::Function(name) => name.as_ptr() as usize,
            Self::Cycler(cycler) => Rc::as_ptr(cycler) as usize,
            Self::Joiner(joiner) => Rc::as_ptr(joiner) as usize,
        }
    }
}
