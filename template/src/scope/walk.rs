//! The second pass, over statements: every name gets its variable, every scope what to load when it is entered.

use std::sync::Arc;

use super::{
    names::{self, has_blocks},
    scopes::Resolver,
};
use crate::ast::{
    Block, Const, Escape, Exports, Expr, FilterCall, For, Load, MacroDef, Names, Output, Postfix,
    Stmt, StmtKind, Target,
};
use crate::error::{Error, Result};

/// The variables of a whole template.
pub(crate) struct Root {
    pub(crate) loads: Vec<Load>,
    pub(crate) slots: u32,
}

/// Gives every name its variable.
///
/// # Errors
///
/// What Jinja refuses when it compiles: unknown filters and tests, `break` outside a loop, assignments to `loop`.
pub(crate) fn resolve(body: &mut [Stmt], names: &dyn Names) -> Result<Root> {
    let mut resolver = Resolver::new(names, has_blocks(body));
    let function = resolver.function(None);
    let scope = resolver.scope(None, function);
    resolver.analyse(scope, body);
    resolver.toplevel = true;
    resolver.statements(body, scope)?;
    Ok(Root {
        loads: resolver.loads(scope),
        slots: resolver.slots(function),
    })
}

/// The only holder of a piece of the tree, which it is until the tree is done.
fn only<T>(shared: &mut Arc<T>) -> Result<&mut T> {
    Arc::get_mut(shared).ok_or_else(|| Error::syntax("a part of the template is shared", 0))
}

#[allow(clippy::indexing_slicing)]
impl Resolver {
    pub(super) fn statements(&mut self, body: &mut [Stmt], scope: usize) -> Result<()> {
        for stmt in body {
            self.line = stmt.line;
            self.statement(&mut stmt.kind, scope)?;
        }
        Ok(())
    }

    /// An inner scope in the same function: its loads, after its statements were walked.
    fn inner(&mut self, body: &mut [Stmt], scope: usize) -> Result<Vec<Load>> {
        self.analyse(scope, body);
        let toplevel = std::mem::replace(&mut self.toplevel, false);
        let soft = std::mem::replace(&mut self.soft, false);
        self.statements(body, scope)?;
        self.toplevel = toplevel;
        self.soft = soft;
        Ok(self.loads(scope))
    }

    /// A constant is escaped or not before the run, even where escaping depends on the run.
    fn settle(&self, value: &mut Expr) {
        let (name, place) = if self.escapes_constants {
            ("escape", self.escape_filter)
        } else {
            ("safe", self.safe_filter)
        };
        let constant = std::mem::replace(value, Expr::Const(Const::None));
        let filter = FilterCall {
            name: name.into(),
            filter: place,
            arguments: Box::default(),
        };
        *value = Expr::Postfix(Box::new(constant), vec![Postfix::Filter(filter)]);
    }

    fn child(&mut self, scope: usize) -> usize {
        self.scope(Some(scope), self.scopes[scope].function)
    }

    fn statement(&mut self, kind: &mut StmtKind, scope: usize) -> Result<()> {
        match kind {
            StmtKind::Output(outputs, escape) => {
                *escape = self.escape;
                for output in outputs {
                    if let Output::Expr(value, line) = output {
                        self.line = *line;
                        self.expression(value, scope)?;
                        if self.escape == Escape::Runtime && names::is_plain_constant(value) {
                            self.settle(value);
                        }
                    }
                }
            }
            StmtKind::Set(target, value, exports) => {
                self.expression(value, scope)?;
                self.target(target, scope);
                *exports = self.exports(target);
            }
            StmtKind::SetBlock {
                target,
                filters,
                loads,
                body,
                exports,
            } => {
                let inner = self.child(scope);
                self.inner(body, inner)?;
                self.filters(filters, inner)?;
                *loads = self.loads(inner);
                self.target(target, scope);
                *exports = self.exports(target);
            }
            StmtKind::If {
                branches,
                otherwise,
            } => {
                let soft = std::mem::replace(&mut self.soft, true);
                for (test, body) in branches {
                    self.expression(test, scope)?;
                    self.statements(body, scope)?;
                }
                self.statements(otherwise, scope)?;
                self.soft = soft;
            }
            StmtKind::For(node) => self.for_loop(only(node)?, scope)?,
            StmtKind::With {
                targets,
                loads,
                body,
            } => {
                let inner = self.child(scope);
                for (target, value) in &mut *targets {
                    self.expression(value, scope)?;
                    self.store_target(inner, target, true);
                }
                for (target, _) in targets {
                    self.target(target, inner);
                }
                *loads = self.inner(body, inner)?;
            }
            StmtKind::Macro(def, var, exports) => {
                self.macro_def(only(def)?, scope)?;
                if let Some(name) = &def.name {
                    *var = self.name(scope, name);
                    *exports = self.exports(&Target::Name(name.clone(), *var));
                }
            }
            StmtKind::Call { def, call } => {
                self.macro_def(only(def)?, scope)?;
                self.expression(call, scope)?;
            }
            StmtKind::Generation(def) => self.macro_def(only(def)?, scope)?,
            StmtKind::Filter {
                filters,
                escape,
                loads,
                body,
            } => {
                *escape = self.escape;
                let inner = self.child(scope);
                self.inner(body, inner)?;
                self.filters(filters, inner)?;
                *loads = self.loads(inner);
            }
            StmtKind::Autoescape { on, loads, body } => {
                let inner = self.child(scope);
                self.analyse_expression(inner, on);
                self.expression(on, inner)?;
                let escape = match on {
                    Expr::Const(Const::Bool(true)) => Escape::On,
                    Expr::Const(Const::Bool(false)) => Escape::Off,
                    _ => Escape::Runtime,
                };
                let outer = (self.escape, self.escapes_constants);
                self.escape = escape;
                if escape != Escape::Runtime {
                    self.escapes_constants = escape == Escape::On;
                }
                *loads = self.inner(body, inner)?;
                (self.escape, self.escapes_constants) = outer;
            }
            StmtKind::Block(block) => self.block(only(block)?, scope)?,
            StmtKind::Break | StmtKind::Continue if self.loops == 0 => {
                let name = match kind {
                    StmtKind::Break => "'break' outside loop",
                    _ => "'continue' not properly in loop",
                };
                return Err(Error::syntax(name, self.line));
            }
            StmtKind::Loader(_) | StmtKind::Break | StmtKind::Continue => {}
        }
        Ok(())
    }

    /// Walks a function of its own: what is around it does not reach in.
    fn as_function<T>(&mut self, walk: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outer = (
            std::mem::replace(&mut self.loops, 0),
            std::mem::replace(&mut self.toplevel, false),
            std::mem::replace(&mut self.soft, false),
        );
        let walked = walk(self)?;
        (self.loops, self.toplevel, self.soft) = outer;
        Ok(walked)
    }

    fn for_loop(&mut self, node: &mut For, scope: usize) -> Result<()> {
        if names::stores_loop(&node.target, [&node.body, &node.otherwise]) {
            return Err(Error::syntax(
                "Can't assign to special loop variable in for-loop target",
                self.line,
            ));
        }
        let line = self.line;
        self.expression(&mut node.iter, scope)?;
        let outer = self.scopes[scope].function;
        let function = if node.recursive {
            self.function(Some(outer))
        } else {
            outer
        };
        node.escape = self.escape;
        let inner = self.scope(Some(scope), function);
        let extended = node.recursive
            || !names::loaded(&node.body, &["loop"]).is_empty()
            || names::has_scoped_blocks(&node.body);
        if extended {
            node.loop_var = Some(self.parameter(inner, &"loop".into()));
        }
        self.store_target(inner, &node.target, true);
        self.target(&mut node.target, inner);
        if let Some(test) = &mut node.test {
            let tester = self.function(Some(outer));
            let testing = self.scope(Some(scope), tester);
            self.store_target(testing, &test.target, true);
            self.analyse_expression(testing, &test.test);
            self.target(&mut test.target, testing);
            self.as_function(|this| this.expression(&mut test.test, testing))?;
            test.loads = self.loads(testing);
            test.slots = self.slots(tester);
        }
        let loops = self.loops;
        self.loops = if node.recursive { 1 } else { loops + 1 };
        node.loads = self.inner(&mut node.body, inner)?;
        self.loops = if node.recursive { 0 } else { loops };
        let otherwise = self.scope(Some(scope), function);
        node.otherwise_loads = self.inner(&mut node.otherwise, otherwise)?;
        self.loops = loops;
        if node.recursive {
            node.slots = self.slots(function);
        }
        self.line = line;
        Ok(())
    }

    fn macro_def(&mut self, def: &mut MacroDef, scope: usize) -> Result<()> {
        let function = self.function(Some(self.scopes[scope].function));
        let inner = self.scope(Some(scope), function);
        for (name, slot) in &mut def.parameters {
            *slot = self.parameter(inner, name);
        }
        for default in &def.defaults {
            self.analyse_expression(inner, default);
        }
        self.analyse(inner, &def.body);
        let used = names::loaded(&def.body, &["caller", "kwargs", "varargs"]);
        let place = |name: &str| {
            def.parameters
                .iter()
                .position(|(given, _)| **given == *name)
        };
        if used.contains(&"caller") {
            match place("caller") {
                None => def.caller = Some(self.parameter(inner, &"caller".into())),
                Some(at) if at + def.defaults.len() < def.parameters.len() => {
                    return Err(Error::syntax(
                        "When defining macros or call blocks the special \"caller\" argument must be omitted or be \
                         given a default.",
                        self.line,
                    ));
                }
                Some(_) => {
                    def.caller = def
                        .parameters
                        .get(place("caller").unwrap_or(0))
                        .map(|p| p.1)
                }
            }
        }
        if used.contains(&"kwargs") && place("kwargs").is_none() {
            def.kwargs = Some(self.parameter(inner, &"kwargs".into()));
        }
        if used.contains(&"varargs") && place("varargs").is_none() {
            def.varargs = Some(self.parameter(inner, &"varargs".into()));
        }
        self.as_function(|this| {
            for default in &mut def.defaults {
                this.expression(default, inner)?;
            }
            this.statements(&mut def.body, inner)
        })?;
        def.loads = self.loads(inner);
        def.slots = self.slots(function);
        Ok(())
    }

    fn block(&mut self, block: &mut Block, scope: usize) -> Result<()> {
        if !self.block_names.insert(block.name.clone()) {
            let message = format!("block '{}' defined twice", block.name);
            return Err(Error::syntax(message, self.line));
        }
        if let [name, ..] = *names::loaded(&block.body, &["self", "super"]) {
            let message = format!("`{name}` in a block is not supported");
            return Err(Error::syntax(message, self.line));
        }
        if block.scoped {
            let mut at = Some(scope);
            let function = self.scopes[scope].function;
            while let Some(scope) = at {
                for name in &self.scopes[scope].stores {
                    if !block.seen.iter().any(|(seen, _)| seen == name)
                        && let Some(slot) = self.find(scope, name)
                    {
                        block.seen.push((name.clone(), self.var(function, slot)));
                    }
                }
                at = self.scopes[scope].parent;
            }
        }
        let function = self.function(None);
        let inner = self.scope(None, function);
        let escape = std::mem::take(&mut self.escape);
        block.loads = self.as_function(|this| this.inner(&mut block.body, inner))?;
        self.escape = escape;
        block.slots = self.slots(function);
        Ok(())
    }

    fn target(&mut self, target: &mut Target, scope: usize) {
        match target {
            Target::Name(name, var) | Target::Attribute(name, var, _) => {
                *var = self.name(scope, name);
            }
            Target::Tuple(items) => {
                for item in items {
                    self.target(item, scope);
                }
            }
        }
    }

    fn exports(&self, target: &Target) -> Exports {
        if !self.toplevel || !self.has_blocks {
            return Vec::new();
        }
        match target {
            Target::Name(name, var) => vec![(name.clone(), *var)],
            Target::Attribute(..) => Vec::new(),
            Target::Tuple(items) => items.iter().flat_map(|item| self.exports(item)).collect(),
        }
    }
}
