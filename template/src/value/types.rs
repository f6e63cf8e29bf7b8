//! The types that hold one another: values, and the render that some values run in.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use indexmap::IndexMap;
use jiff::civil::DateTime;

use super::{
    entries::Entries, range::Range, text::Text, undefined::Undefined, variables::Variables,
};
use crate::{ast::MacroDef, error::Result, limits::Tracked, number::Big};

/// Anything that a template can hold. Clones are cheap.
#[derive(Clone)]
#[non_exhaustive]
pub enum Value {
    /// Jinja's `Undefined`.
    Undefined(Option<Rc<Undefined>>),
    /// `None`.
    None,
    /// `True` and `False`.
    Bool(bool),
    /// An `int` of 64 bits.
    Int(i64),
    /// An `int` that needs more than 64 bits.
    Big(Rc<Big>),
    /// A `float`.
    Float(f64),
    /// A `str`, or a `Markup`.
    Str(Text),
    /// A `list`.
    List(Rc<Seq>),
    /// A `tuple`.
    Tuple(Rc<Seq>),
    /// A `dict`.
    Dict(Rc<Dict>),
    /// Everything else.
    Object(Object),
}

/// The items of a list or a tuple.
pub struct Seq {
    pub(crate) items: Vec<Value>,
    /// A tuple that `groupby` made, with names for its two items.
    pub(crate) group: bool,
    pub(super) depth: u16,
    pub(super) _tracked: Tracked,
}

/// A value that can be a key.
pub(crate) struct Key(pub(super) Value);

/// An immutable dict: templates cannot change one.
pub struct Dict {
    pub(super) entries: Entries<Key, Value>,
    pub(super) depth: u16,
    pub(super) _tracked: Tracked,
}

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
    Loop(Rc<dyn LoopVariable>),
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

/// Attributes that a template may set: the one thing that changes.
pub(crate) struct Namespace {
    pub(crate) attributes: RefCell<IndexMap<Arc<str>, Value>>,
    pub(crate) printing: Cell<bool>,
}

/// The variables of one run of a function.
pub(crate) type Activation = Variables<Value>;

pub(crate) struct Macro {
    pub(crate) def: Arc<MacroDef>,
    pub(crate) around: Rc<Activation>,
}

pub(crate) struct Method {
    pub(crate) of: Value,
    pub(crate) name: &'static str,
    pub(super) depth: u16,
}

pub(crate) struct Cycler {
    pub(crate) items: Value,
    pub(crate) at: Cell<usize>,
}

pub(crate) struct Joiner {
    pub(crate) separator: Value,
    pub(crate) used: Cell<bool>,
}

/// A generator: its items can be taken once.
pub(crate) struct IterObject<G: ?Sized = dyn Generate> {
    pub(crate) type_name: &'static str,
    pub(crate) depth: u16,
    pub(crate) state: RefCell<G>,
}

/// What makes the items of a generator.
pub(crate) trait Generate {
    fn next(&mut self, interp: &mut Interp<'_>) -> Result<Option<Value>>;
}

/// What can be done with `loop`.
pub(crate) trait LoopVariable {
    /// How deep other values are nested in this one.
    fn depth(&self) -> u16;

    fn length(&self, interp: &mut Interp<'_>) -> Result<usize>;

    /// `str(loop)`.
    fn repr(&self, interp: &mut Interp<'_>) -> Result<String>;

    fn attribute(self: Rc<Self>, interp: &mut Interp<'_>, name: &str) -> Result<Option<Value>>;

    fn call_method(
        self: Rc<Self>,
        interp: &mut Interp<'_>,
        name: &str,
        args: Args,
    ) -> Result<Value>;

    /// `loop(iterable)`: the loop's body for other items, one level deeper.
    fn recurse(&self, interp: &mut Interp<'_>, args: Args) -> Result<Value>;
}

/// The values of a call's arguments.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) positional: Vec<Value>,
    pub(crate) named: Vec<(Arc<str>, Value)>,
}

/// A filter's function.
pub(crate) type Filter = fn(&mut Interp<'_>, Value, Args) -> Result<Value>;

/// A test's function.
pub(crate) type Test = fn(&mut Interp<'_>, &Value, Args) -> Result<bool>;

/// The filters and the tests by their names.
pub(crate) struct Library {
    pub(crate) filters: &'static [(&'static str, Filter)],
    pub(crate) tests: &'static [(&'static str, Test)],
}

/// What may hold itself, and is emptied at the end of a render.
pub(crate) trait Release {
    fn release(&self);
}

/// One render of a template.
pub(crate) struct Interp<'a> {
    pub(crate) library: &'static Library,
    pub(crate) context: &'a Dict,
    /// What the top level assigned, for blocks.
    pub(crate) exported: HashMap<Arc<str>, Value>,
    pub(crate) autoescape: bool,
    pub(crate) line: u32,
    pub(crate) now: Option<DateTime>,
    pub(super) calls: u32,
    pub(super) held: Vec<Rc<dyn Release>>,
    pub(super) held_bytes: Tracked,
}
