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

mod args;
mod ast;
mod compare;
mod dict;
mod error;
mod eval;
mod filters;
mod format;
mod globals;
mod index;
mod iter;
mod json;
mod lexer;
mod limits;
mod loops;
mod methods;
mod number;
mod object;
mod ops;
mod parser;
mod printf;
mod repr;
mod scope;
mod tests;
mod time;
mod unicode;
mod value;

use std::fmt;
use std::sync::Arc;

pub use error::{Error, ErrorKind};
pub use limits::Limits;
pub use value::Value;

/// A compiled template. Clones share it, and it can be used from several threads.
#[derive(Clone)]
pub struct Template(Arc<Compiled>);

pub(crate) struct Compiled {
    name: Arc<str>,
    body: Vec<ast::Stmt>,
    root: scope::Root,
}

/// The longest template that is compiled, in bytes.
const MAX_SOURCE: usize = 16 << 20;

impl Template {
    /// Compiles a template; `name` is for errors.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Syntax`] with the line.
    pub fn compile(name: &str, source: &str) -> Result<Self, Error> {
        let name: Arc<str> = name.into();
        let compile = || {
            if source.len() > MAX_SOURCE {
                return Err(Error::syntax("a template of more than 16 MiB", 0));
            }
            let mut body = parser::parse(source)?;
            let root = scope::resolve(&mut body)?;
            Ok((body, root))
        };
        match compile() {
            Ok((body, root)) => Ok(Self(Arc::new(Compiled { name, body, root }))),
            Err(error) => Err(error.at(&name, 0)),
        }
    }

    /// Renders the template with the variables in `context`, a dict. `now` is the time of `strftime_now`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Raised`] when the template raises an exception of its own, [`ErrorKind::Python`] when Python would
    /// raise one, [`ErrorKind::Limit`] and [`ErrorKind::Unsupported`].
    pub fn render(
        &self,
        context: &Value,
        now: Option<jiff::civil::DateTime>,
        limits: &Limits,
    ) -> Result<String, Error> {
        let Value::Dict(context) = context else {
            return Err(error::type_error("the variables of a template are a dict"));
        };
        let _metered = limits::Metered::start(limits);
        let mut interp = eval::Interp::new(&self.0, context, now);
        interp
            .run()
            .map_err(|error| error.at(&self.0.name, interp.line))
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.0.name).finish()
    }
}
