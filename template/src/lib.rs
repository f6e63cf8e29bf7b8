//! Chat templates: Jinja as `transformers` runs it under Python.
//!
//! [`Template::compile`] parses a template once; [`Template::render`] runs it on a [`Value`]. The language is that of
//! Jinja 3.1 in its immutable sandbox with `trim_blocks`, `lstrip_blocks` and `loopcontrols`, and with what
//! `transformers` adds: `tojson`, `raise_exception`, `strftime_now` and the tag `generation`. Values are Python's:
//! integers of any size, its comparisons and their errors, its `str` and `repr`.
//!
//! # Left out
//!
//! What follows is an error by name ([`ErrorKind::Unsupported`]), never another text:
//!
//! - results that differ from run to run: `random`, `lipsum`, and everything that Python prints with its address
//!   (functions, generators);
//! - the filters `urlize` and `wordwrap`, and `pprint` for what does not fit on one line;
//! - other templates: `include`, `import` and `extends`, which find nothing under `transformers` either;
//! - `self` and `super` in blocks;
//! - bytes (`str.encode`, `int.to_bytes`), `str.translate` and `str.maketrans`, `float.fromhex`, complex numbers, sets
//!   made from dict views, the format code `n`, `\N{…}` and half surrogate pairs in strings, HTML references other than
//!   those of escaped text.
//!
//! # Limits
//!
//! A template may come from anyone. [`Limits`] bounds the work and the memory of a render; recursion, nesting and the
//! depth of values are bounded as well, so that a render needs no more than 1 MiB of stack.

// The layers, from below: errors and limits; characters and quoting; numbers by themselves; the syntax tree; the types
// of values; equality, order, text and iteration of values; operators, formats, methods and attributes; filters, tests
// and global functions. Lexer, parser and scopes know no value, and filters and tests only by their places in a table.
// `eval` runs a template, and `template` puts all of it together.

mod args;
mod ast;
mod compare;
mod error;
mod eval;
mod filters;
mod format;
mod globals;
mod index;
mod iter;
mod json;
mod lexer;
mod library;
mod limits;
mod markup;
mod methods;
mod number;
mod ops;
mod parser;
mod quote;
mod repr;
mod scope;
mod template;
mod tests;
mod unicode;
mod value;

pub use error::{Error, ErrorKind};
pub use limits::Limits;
pub use template::Template;
pub use value::Value;
