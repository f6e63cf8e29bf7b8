//! Statements.

use std::{rc::Rc, sync::Arc};

use super::loops::{Filtered, Loop};
use crate::ast::{
    Block, Escape, Exports, Expr, FilterCall, For, MacroDef, Output, Stmt, StmtKind, Var,
};
use crate::{
    error::{Result, template_runtime_error, type_error},
    iter::{Iter, Source, generator, iterate},
    limits::work,
    markup::push_escaped,
    repr::push_str_of,
    value::{Activation, Buffer, Interp, Macro, Object, Text, Value},
};

/// How the statements of a body ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

impl Interp<'_> {
    pub(super) fn statements(
        &mut self,
        body: &[Stmt],
        activation: &Rc<Activation>,
        out: &mut Buffer,
    ) -> Result<Flow> {
        for stmt in body {
            work(1)?;
            self.line = stmt.line;
            let flow = match &stmt.kind {
                StmtKind::Output(outputs, escape) => {
                    self.output(outputs, *escape, activation, out)?;
                    Flow::Next
                }
                StmtKind::If {
                    branches,
                    otherwise,
                } => self.condition(branches, otherwise, activation, out)?,
                StmtKind::Set(target, value, exports) => {
                    let value = self.eval(value, activation)?;
                    self.assign(target, value, activation)?;
                    self.export(exports, activation);
                    Flow::Next
                }
                StmtKind::For(node) => {
                    if node.recursive {
                        let items = self.eval(&node.iter, activation)?;
                        let text = self.recursive_loop(node, activation, &items, 0)?;
                        push_direct(&text, out)?;
                    } else {
                        let items = self.eval(&node.iter, activation)?;
                        self.for_loop(node, activation, activation, &items, 0, out)?;
                    }
                    Flow::Next
                }
                StmtKind::Break => Flow::Break,
                StmtKind::Continue => Flow::Continue,
                _ => self.rare(stmt, activation, out)?,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// The statements that chat templates use less, away from the stack frame of the others.
    #[inline(never)]
    fn rare(&mut self, stmt: &Stmt, activation: &Rc<Activation>, out: &mut Buffer) -> Result<Flow> {
        match &stmt.kind {
            StmtKind::SetBlock {
                target,
                filters,
                loads,
                body,
                exports,
            } => {
                self.enter(loads, activation);
                let mut inner = Buffer::new();
                let flow = self.statements(body, activation, &mut inner)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let mut value =
                    Value::text_like(Text::from(inner), self.autoescape && !filters.is_empty());
                value = self.filtered(value, filters, activation)?;
                if self.autoescape {
                    let text = crate::repr::to_str(&value)?;
                    value = Value::markup(text.as_str());
                }
                self.assign(target, value, activation)?;
                self.export(exports, activation);
            }
            StmtKind::With {
                targets,
                loads,
                body,
            } => {
                self.enter(loads, activation);
                for (target, value) in targets {
                    let value = self.eval(value, activation)?;
                    self.assign(target, value, activation)?;
                }
                return self.statements(body, activation, out);
            }
            StmtKind::Macro(def, var, exports) => {
                let value = self.closure(def, activation)?;
                activation.set(*var, Some(value));
                self.export(exports, activation);
            }
            StmtKind::Call { def, call } => {
                let caller = self.closure(def, activation)?;
                let value = self.eval_call(call, activation, caller)?;
                push_direct(&value, out)?;
            }
            StmtKind::Generation(def) => {
                let caller = self.closure(def, activation)?;
                let text = self.call_value(&caller, crate::value::Args::default())?;
                push_direct(&text, out)?;
            }
            StmtKind::Filter {
                filters,
                escape,
                loads,
                body,
            } => {
                self.enter(loads, activation);
                let mut inner = Buffer::new();
                let flow = self.statements(body, activation, &mut inner)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let safe = self.escapes(*escape);
                let value = Value::text_like(Text::from(inner), safe);
                let value = self.filtered(value, filters, activation)?;
                push_direct(&value, out)?;
            }
            StmtKind::Autoescape { on, loads, body } => {
                self.enter(loads, activation);
                let before = self.autoescape;
                self.autoescape = self.eval(on, activation)?.is_true()?;
                let flow = self.statements(body, activation, out)?;
                // As in Python, a jump out of the body leaves it on.
                if flow == Flow::Next {
                    self.autoescape = before;
                }
                return Ok(flow);
            }
            StmtKind::Block(block) => self.block(block, activation, out)?,
            StmtKind::Loader(tag) => {
                return Err(type_error(format!(
                    "no loader for this environment specified (`{tag}` names another template)"
                )));
            }
            _ => {}
        }
        Ok(Flow::Next)
    }

    pub(super) fn escapes(&self, escape: Escape) -> bool {
        match escape {
            Escape::Off => false,
            Escape::On => true,
            Escape::Runtime => self.autoescape,
        }
    }

    fn output(
        &mut self,
        outputs: &[Output],
        escape: Escape,
        activation: &Rc<Activation>,
        out: &mut Buffer,
    ) -> Result<()> {
        for output in outputs {
            match output {
                Output::Text(text) => out.push_str(text)?,
                Output::Expr(value, line) => {
                    self.line = *line;
                    let value = self.eval(value, activation)?;
                    if self.escapes(escape) {
                        push_escaped(&value, out)?;
                    } else if let Value::Object(Object::Loop(state)) = &value {
                        out.push_str(&state.repr(self)?)?;
                    } else if let Value::Str(text) = value {
                        out.push_text(text)?;
                    } else {
                        push_str_of(&value, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn export(&mut self, exports: &Exports, activation: &Activation) {
        for (name, var) in exports {
            if let Some(value) = activation.get(*var) {
                self.exported.insert(name.clone(), value);
            }
        }
    }

    fn condition(
        &mut self,
        branches: &[(Expr, Vec<Stmt>)],
        otherwise: &[Stmt],
        activation: &Rc<Activation>,
        out: &mut Buffer,
    ) -> Result<Flow> {
        for (test, body) in branches {
            if self.eval(test, activation)?.is_true()? {
                return self.statements(body, activation, out);
            }
        }
        self.statements(otherwise, activation, out)
    }

    fn filtered(
        &mut self,
        mut value: Value,
        filters: &[FilterCall],
        activation: &Rc<Activation>,
    ) -> Result<Value> {
        for filter in filters {
            value = self.filter(value, filter, activation)?;
        }
        Ok(value)
    }

    fn closure(&mut self, def: &Arc<MacroDef>, activation: &Rc<Activation>) -> Result<Value> {
        self.hold_activation(activation)?;
        Ok(Value::Object(Object::Macro(Rc::new(Macro {
            def: def.clone(),
            around: activation.clone(),
        }))))
    }

    /// Whether the `if` of a loop lets an item through.
    pub(super) fn passes(
        &mut self,
        node: &Arc<For>,
        around: &Rc<Activation>,
        item: &Value,
    ) -> Result<bool> {
        let Some(test) = &node.test else {
            return Ok(true);
        };
        let activation = Activation::new(test.slots, Some(around.clone()));
        self.enter(&test.loads, &activation);
        self.assign(&test.target, item.clone(), &activation)?;
        self.eval(&test.test, &activation)?.is_true()
    }

    /// A recursive loop over `items`, in variables of its own, as text.
    pub(super) fn recursive_loop(
        &mut self,
        node: &Arc<For>,
        around: &Rc<Activation>,
        items: &Value,
        depth0: u32,
    ) -> Result<Value> {
        self.deeper(|interp| {
            let activation = Activation::new(node.slots, Some(around.clone()));
            let mut out = Buffer::new();
            interp.for_loop(node, &activation, around, items, depth0, &mut out)?;
            let safe = interp.escapes(node.escape);
            Ok(Value::text_like(Text::from(out), safe))
        })
    }

    fn for_loop(
        &mut self,
        node: &Arc<For>,
        activation: &Rc<Activation>,
        around: &Rc<Activation>,
        items: &Value,
        depth0: u32,
        out: &mut Buffer,
    ) -> Result<()> {
        let tested;
        let items = if node.test.is_some() {
            let depth = items.depth();
            // The test's generator is made before its source is looked at, and looks at it at once.
            let source = Source::Iter(iterate(items)?);
            tested = generator(
                Filtered(source, node.clone(), around.clone()),
                "generator",
                depth,
            )?;
            &tested
        } else {
            items
        };
        let mut iter = iterate(items)?;
        let state = match node.loop_var {
            None => None,
            Some(slot) => {
                let length = match &iter {
                    Iter::Object(_) => None,
                    Iter::Loop => {
                        return Err(crate::error::unsupported("a loop over `loop` itself"));
                    }
                    _ => Some(crate::iter::length(self, items)?),
                };
                let iter = std::mem::replace(&mut iter, Iter::Empty);
                let recursion = node.recursive.then(|| (node.clone(), around.clone()));
                let depth = items.depth() + 1;
                let state = Rc::new(Loop::new(iter, length, depth, depth0, recursion));
                Some((slot, state))
            }
        };
        let mut finished = false;
        loop {
            let item = match &state {
                None => iter.next(self)?,
                Some((_, state)) => state.next(self)?,
            };
            let Some(item) = item else { break };
            self.assign(&node.target, item, activation)?;
            if let Some((slot, state)) = &state {
                let value = Value::Object(Object::Loop(state.clone()));
                activation.set_slot(*slot, Some(value));
            }
            self.enter(&node.loads, activation);
            match self.statements(&node.body, activation, out)? {
                Flow::Next => finished = true,
                Flow::Continue => {}
                Flow::Break => break,
            }
        }
        // As in Python, a body that was left early every time counts as none.
        if !finished && !node.otherwise.is_empty() {
            self.enter(&node.otherwise_loads, activation);
            self.statements(&node.otherwise, activation, out)?;
        }
        Ok(())
    }

    fn block(
        &mut self,
        block: &Arc<Block>,
        around: &Rc<Activation>,
        out: &mut Buffer,
    ) -> Result<()> {
        if block.required {
            return Err(template_runtime_error(format!(
                "Required block '{}' not found",
                block.name
            )));
        }
        let seen: Vec<_> = block
            .seen
            .iter()
            .filter_map(|(name, var): &(Arc<str>, Var)| Some((name.clone(), around.get(*var)?)))
            .collect();
        self.deeper(|interp| {
            let before: Vec<_> = seen
                .into_iter()
                .map(|(name, value)| (name.clone(), interp.exported.insert(name, value)))
                .collect();
            let activation = Activation::new(block.slots, None);
            interp.enter(&block.loads, &activation);
            let done = interp.statements(&block.body, &activation, out);
            for (name, value) in before {
                match value {
                    Some(value) => interp.exported.insert(name, value),
                    None => interp.exported.remove(&name),
                };
            }
            done.map(drop)
        })
    }
}

/// Text that goes out as it is; anything else is an error, as in Python.
fn push_direct(value: &Value, out: &mut Buffer) -> Result<()> {
    match value {
        Value::Str(text) => out.push_str(text.as_str()),
        other => Err(type_error(format!(
            "sequence item 0: expected str instance, {} found",
            other.type_name()
        ))),
    }
}
