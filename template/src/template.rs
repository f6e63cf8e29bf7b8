//! Compiling and rendering.

use std::{fmt, sync::Arc};

use crate::{
    ast::Stmt,
    error::{Error, type_error},
    library::LIBRARY,
    limits::{Limits, Metered},
    parser::parse,
    scope::{Root, resolve},
    value::{Interp, Value},
};

/// A compiled template. Clones share it, and it can be used from several threads.
#[derive(Clone)]
pub struct Template(Arc<Compiled>);

struct Compiled {
    name: Arc<str>,
    body: Vec<Stmt>,
    root: Root,
}

/// The longest template that is compiled, in bytes.
const MAX_SOURCE: usize = 16 << 20;

impl Template {
    /// Compiles a template; `name` is for errors.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Syntax`](crate::ErrorKind::Syntax) with the line.
    pub fn compile(name: &str, source: &str) -> Result<Self, Error> {
        let name: Arc<str> = name.into();
        let compile = || {
            if source.len() > MAX_SOURCE {
                return Err(Error::syntax("a template of more than 16 MiB", 0));
            }
            let mut body = parse(source, &LIBRARY)?;
            let root = resolve(&mut body, &LIBRARY)?;
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
    /// [`ErrorKind::Raised`](crate::ErrorKind::Raised) when the template raises an exception of its own,
    /// [`ErrorKind::Python`](crate::ErrorKind::Python) when Python would raise one,
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) and [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    pub fn render(
        &self,
        context: &Value,
        now: Option<jiff::civil::DateTime>,
        limits: &Limits,
    ) -> Result<String, Error> {
        let Value::Dict(context) = context else {
            return Err(type_error("the variables of a template are a dict"));
        };
        let _metered = Metered::start(limits);
        let mut interp = Interp::new(&LIBRARY, context, now);
        interp
            .run(&self.0.body, &self.0.root)
            .map_err(|error| error.at(&self.0.name, interp.line))
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.0.name).finish()
    }
}
