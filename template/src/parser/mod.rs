//! From tokens to the syntax tree, by Jinja's grammar.

mod cursor;
mod expressions;
mod macros;
mod postfix;
mod statements;
mod targets;

pub(crate) use statements::parse;
