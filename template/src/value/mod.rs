//! Values with Python's meaning.
//!
//! A value holds others, and some hold a piece of the template that runs when they are used: what refers to one another
//! is declared in `types`. The other files say what can be done with it, each using those before it.

mod text;

mod buffer;
mod entries;
mod range;
mod undefined;
mod variables;

mod types;

mod kind;

mod build;

mod interp;
mod object;

mod equal;

mod dict;

pub(crate) use buffer::Buffer;
pub(crate) use build::{depth_above, reserve_values};
pub(crate) use dict::DictBuilder;
pub(crate) use equal::{contains, equals, is_same, same_or_equal};
pub(crate) use object::view_item;
pub(crate) use range::Range;
pub(crate) use text::Text;
pub use types::Value;
pub(crate) use types::{
    Activation, Args, Cycler, Dict, Filter, Generate, Interp, IterObject, Joiner, Key, Library,
    LoopVariable, Macro, Method, Namespace, Object, Release, Seq, Test, View, ViewKind,
};
pub(crate) use undefined::described;
