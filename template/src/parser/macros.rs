//! Macros, and the tags whose body becomes one: `call` and `generation`.

use std::sync::Arc;

use super::cursor::Parser;
use crate::ast::{Expr, MacroDef, Postfix, Stmt, StmtKind, Var};
use crate::error::Result;

impl Parser<'_> {
    pub(super) fn macro_definition(&mut self) -> Result<StmtKind> {
        self.skip();
        let name = self.any_name()?;
        let (parameters, defaults) = self.signature()?;
        let body = self.whole(&["endmacro"])?;
        let def = macro_def(Some(name), parameters, defaults, body);
        Ok(StmtKind::Macro(def, Var::default(), Vec::new()))
    }

    pub(super) fn call_block(&mut self) -> Result<StmtKind> {
        self.skip();
        let (parameters, defaults) = if self.token().is_op("(") {
            self.signature()?
        } else {
            (Vec::new(), Vec::new())
        };
        let call = self.expression()?;
        if !matches!(&call, Expr::Postfix(_, links) if matches!(links.last(), Some(Postfix::Call(_))))
        {
            return self.fail("expected call");
        }
        let body = self.whole(&["endcall"])?;
        let name = Some("caller".into());
        let def = macro_def(name, parameters, defaults, body);
        Ok(StmtKind::Call { def, call })
    }

    pub(super) fn generation(&mut self) -> Result<StmtKind> {
        self.skip();
        let body = self.whole(&["endgeneration"])?;
        let name = Some("caller".into());
        let def = macro_def(name, Vec::new(), Vec::new(), body);
        Ok(StmtKind::Generation(def))
    }

    #[allow(clippy::type_complexity)]
    fn signature(&mut self) -> Result<(Vec<(Arc<str>, u32)>, Vec<Expr>)> {
        let (mut parameters, mut defaults) = (Vec::new(), Vec::new());
        self.expect_op("(")?;
        while !self.token().is_op(")") {
            if !parameters.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.any_name()?;
            if self.skip_op("=") {
                defaults.push(self.expression()?);
            } else if !defaults.is_empty() {
                return self.fail("non-default argument follows default argument");
            }
            if parameters.iter().any(|(given, _)| *given == name) {
                return self.fail(format!("duplicate argument '{name}' in macro definition"));
            }
            parameters.push((name, 0));
        }
        self.expect_op(")")?;
        Ok((parameters, defaults))
    }
}

fn macro_def(
    name: Option<Arc<str>>,
    parameters: Vec<(Arc<str>, u32)>,
    defaults: Vec<Expr>,
    body: Vec<Stmt>,
) -> Arc<MacroDef> {
    Arc::new(MacroDef {
        name,
        explicit_caller: parameters.iter().any(|(name, _)| **name == *"caller"),
        parameters,
        defaults,
        caller: None,
        kwargs: None,
        varargs: None,
        loads: Vec::new(),
        slots: 0,
        body,
    })
}
