//! The methods of Python's built-in types.

mod call;
mod case;
mod containers;
mod names;
mod numbers;
mod search;
mod split;
mod text;

pub(crate) use call::call;
pub(crate) use case::{capitalize, lower, upper};
pub(crate) use names::{changes, find};
pub(crate) use split::split_lines;
pub(crate) use text::{center, strip};
