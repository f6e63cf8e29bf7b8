//! From tokens to the syntax tree, by Jinja's grammar.

mod cursor;
mod expressions;
mod statements;

pub(crate) use statements::parse;
