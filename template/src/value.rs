//! Values with Python's meaning.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use num_bigint::BigInt;

use crate::dict::Dict;
use crate::error::{Error, Result, limit, security_error, undefined_error};
use crate::limits::{MAX_VALUE_DEPTH, Tracked, reserve, reserve_items};
use crate::object::Object;

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

/// A large integer whose memory is counted.
pub struct Big {
    value: BigInt,
    _tracked: Tracked,
}

impl From<BigInt> for Big {
    fn from(value: BigInt) -> Self {
        let bytes = usize::try_from(value.bits() / 8).unwrap_or(usize::MAX);
        Self {
            value,
            _tracked: Tracked::new(bytes + size_of::<Self>()),
        }
    }
}

impl std::ops::Deref for Big {
    type Target = BigInt;

    fn deref(&self) -> &BigInt {
        &self.value
    }
}

/// Why a value is undefined, as the message says when it is used.
pub struct Undefined {
    why: Why,
    unsafe_attribute: bool,
}

/// The message in parts: most undefined values are never complained about.
enum Why {
    Message(String),
    Name(Arc<str>),
    /// The type of what has no such attribute, and its name.
    Attribute(&'static str, Text),
}

/// A type as Jinja's messages name it.
pub(crate) fn described(type_name: &str) -> String {
    match type_name {
        "NoneType" => "None".to_owned(),
        "Markup" => "markupsafe.Markup object".to_owned(),
        "LoopContext" | "Macro" => format!("jinja2.runtime.{type_name} object"),
        other => format!("{other} object"),
    }
}

impl Undefined {
    fn message(&self) -> String {
        match &self.why {
            Why::Message(message) => message.clone(),
            Why::Name(name) => format!("{} is undefined", crate::repr::string_repr(name)),
            Why::Attribute(of, name) => format!(
                "{} has no attribute {}",
                crate::repr::string_repr(&described(of)),
                crate::repr::string_repr(name.as_str())
            ),
        }
    }
}

/// Text that is shared: a template's own, or made while it runs.
#[derive(Clone)]
pub struct Text {
    source: Source,
    safe: bool,
}

#[derive(Clone)]
enum Source {
    Constant(Arc<str>),
    Made(Made),
}

/// Text whose memory is counted, once for all that share it.
#[derive(Clone)]
struct Made(Shared);

/// Text of at least so many bytes is not copied to be in one piece with its count.
const LONG: usize = 64 << 10;

#[derive(Clone)]
enum Shared {
    Short(Rc<str>),
    Long(Rc<String>),
}

impl Made {
    fn new(text: Shared) -> Self {
        let made = Self(text);
        Tracked::add(made.as_str().len());
        made
    }

    fn as_str(&self) -> &str {
        match &self.0 {
            Shared::Short(text) => text,
            Shared::Long(text) => text,
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let owners = match &self.0 {
            Shared::Short(text) => Rc::strong_count(text),
            Shared::Long(text) => Rc::strong_count(text),
        };
        if owners == 1 {
            Tracked::remove(self.as_str().len());
        }
    }
}

impl Text {
    /// A template's own text.
    pub(crate) fn constant(text: Arc<str>) -> Self {
        Self {
            source: Source::Constant(text),
            safe: false,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.source {
            Source::Constant(text) => text,
            Source::Made(made) => made.as_str(),
        }
    }

    /// Whether this is a `Markup`.
    pub(crate) fn is_safe(&self) -> bool {
        self.safe
    }

    pub(crate) fn with_safe(mut self, safe: bool) -> Self {
        self.safe = safe;
        self
    }

    /// The string of a long text that nothing else holds.
    fn sole(&mut self) -> Option<&mut String> {
        match &mut self.source {
            Source::Made(Made(Shared::Long(text))) => Rc::get_mut(text),
            _ => None,
        }
    }

    /// Appends to a long text that nothing else holds; says whether it is one.
    pub(crate) fn append(&mut self, more: &str) -> Result<bool> {
        let Some(text) = self.sole() else {
            return Ok(false);
        };
        reserve(more.len())?;
        Tracked::add(more.len());
        text.push_str(more);
        Ok(true)
    }

    /// Takes the string out of a long text that nothing else holds; it is no longer counted.
    pub(crate) fn take_long(&mut self) -> Option<String> {
        let text = std::mem::take(self.sole()?);
        Tracked::remove(text.len());
        Some(text)
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (Source::Constant(a), Source::Constant(b)) => Arc::ptr_eq(a, b),
            (Source::Made(a), Source::Made(b)) => match (&a.0, &b.0) {
                (Shared::Short(a), Shared::Short(b)) => Rc::ptr_eq(a, b),
                (Shared::Long(a), Shared::Long(b)) => Rc::ptr_eq(a, b),
                _ => false,
            },
            _ => false,
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.len() < LONG {
            return Self::from(text.as_str());
        }
        Self {
            source: Source::Made(Made::new(Shared::Long(Rc::new(text)))),
            safe: false,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self {
            source: Source::Made(Made::new(Shared::Short(text.into()))),
            safe: false,
        }
    }
}

/// The items of a list or a tuple.
pub struct Seq {
    pub(crate) items: Vec<Value>,
    /// A tuple that `groupby` made, with names for its two items.
    pub(crate) group: bool,
    depth: u16,
    _tracked: Tracked,
}

/// One more than the deepest of `values`.
pub(crate) fn depth_above<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<u16> {
    let depth = 1 + values.into_iter().map(Value::depth).max().unwrap_or(0);
    if depth > MAX_VALUE_DEPTH {
        return Err(limit(format!(
            "a value is nested more than {MAX_VALUE_DEPTH} levels deep"
        )));
    }
    Ok(depth)
}

fn seq(items: Vec<Value>, group: bool) -> Result<Rc<Seq>> {
    Ok(Rc::new(Seq {
        depth: depth_above(&items)?,
        _tracked: Tracked::new(items.capacity() * size_of::<Value>() + size_of::<Seq>()),
        items,
        group,
    }))
}

impl Value {
    /// A list of `items`.
    ///
    /// # Errors
    ///
    /// Items that are nested too deeply.
    pub fn list(items: Vec<Value>) -> Result<Self> {
        Ok(Self::List(seq(items, false)?))
    }

    pub(crate) fn tuple(items: Vec<Value>) -> Result<Self> {
        Ok(Self::Tuple(seq(items, false)?))
    }

    pub(crate) fn group(grouper: Value, items: Value) -> Result<Self> {
        Ok(Self::Tuple(seq(vec![grouper, items], true)?))
    }

    /// A dict of `pairs`; the last of several equal keys wins, at the place of the first.
    ///
    /// # Errors
    ///
    /// Values that are nested too deeply.
    pub fn dict<K: AsRef<str>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Result<Self> {
        let mut dict = Dict::builder();
        for (key, value) in pairs {
            dict.insert(Value::from(key.as_ref()), value)?;
        }
        dict.finish()
    }

    pub(crate) fn undefined(message: impl Into<String>) -> Self {
        Self::undefined_because(Why::Message(message.into()), false)
    }

    fn undefined_because(why: Why, unsafe_attribute: bool) -> Self {
        Self::Undefined(Some(Rc::new(Undefined {
            why,
            unsafe_attribute,
        })))
    }

    pub(crate) fn undefined_name(name: Arc<str>) -> Self {
        Self::undefined_because(Why::Name(name), false)
    }

    pub(crate) fn missing_attribute(of: &Value, name: Text) -> Self {
        Self::undefined_because(Why::Attribute(of.type_name(), name), false)
    }

    pub(crate) fn unsafe_attribute(of: &Value, name: &str) -> Self {
        let message = format!(
            "access to attribute {} of {} object is unsafe.",
            crate::repr::string_repr(name),
            crate::repr::string_repr(of.type_name())
        );
        Self::undefined_because(Why::Message(message), true)
    }

    pub(crate) fn int(value: BigInt) -> Self {
        match i64::try_from(&value) {
            Ok(small) => Self::Int(small),
            Err(_) => Self::Big(Rc::new(Big::from(value))),
        }
    }

    pub(crate) fn usize(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub(crate) fn str(text: impl Into<Text>) -> Self {
        Self::Str(text.into())
    }

    pub(crate) fn markup(text: impl Into<Text>) -> Self {
        Self::Str(text.into().with_safe(true))
    }

    /// Text of the same kind as another: plain, or `Markup`.
    pub(crate) fn text_like(text: impl Into<Text>, safe: bool) -> Self {
        Self::Str(text.into().with_safe(safe))
    }

    /// New text of at most the memory allowed.
    pub(crate) fn copied(text: &str, safe: bool) -> Result<Self> {
        reserve(text.len())?;
        Ok(Self::text_like(text, safe))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text.as_str()),
            _ => None,
        }
    }

    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn is_markup(&self) -> bool {
        matches!(self, Self::Str(text) if text.is_safe())
    }

    /// How deep other values are nested in this one.
    pub(crate) fn depth(&self) -> u16 {
        match self {
            Self::List(seq) | Self::Tuple(seq) => seq.depth,
            Self::Dict(dict) => dict.depth(),
            Self::Object(object) => object.depth(),
            _ => 0,
        }
    }

    /// `type(value).__name__`.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Big(_) => "int",
            Self::Float(_) => "float",
            Self::Str(text) if text.is_safe() => "Markup",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(seq) if seq.group => "_GroupTuple",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Object(object) => object.type_name(),
        }
    }

    /// `bool(value)`.
    pub(crate) fn is_true(&self) -> Result<bool> {
        Ok(match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Big(_) => true,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.as_str().is_empty(),
            Self::List(seq) | Self::Tuple(seq) => !seq.items.is_empty(),
            Self::Dict(dict) => !dict.is_empty(),
            Self::Object(object) => object.is_true(),
        })
    }

    /// The error of an operation on an undefined value; none for any other.
    pub(crate) fn undefined_error(&self) -> Option<Error> {
        match self {
            Self::Undefined(Some(info)) if info.unsafe_attribute => {
                Some(security_error(info.message()))
            }
            Self::Undefined(Some(info)) => Some(undefined_error(info.message())),
            Self::Undefined(None) => Some(undefined_error("the value is undefined")),
            _ => None,
        }
    }
}

/// Room for `count` values that are about to be collected.
pub(crate) fn reserve_values(count: usize) -> Result<()> {
    reserve_items(count, size_of::<Value>())
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match crate::repr::repr(self) {
            Ok(text) => f.write_str(&text),
            Err(_) => write!(f, "<{}>", self.type_name()),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// Text of the caller's, which is shared and not counted as memory of the template.
impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Str(Text::constant(text))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::str(text)
    }
}

impl From<crate::limits::Buffer> for Text {
    fn from(buffer: crate::limits::Buffer) -> Self {
        Self::from(buffer.into_string())
    }
}
