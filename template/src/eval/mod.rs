//! Running a template.

mod call;
mod expressions;
mod statements;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use jiff::civil::DateTime;

use crate::Compiled;
use crate::ast::{Load, Target, Var};
use crate::dict::Dict;
use crate::error::{Result, limit, template_runtime_error, type_error, value_error};
use crate::globals;
use crate::limits::{Buffer, MAX_CALLS, Tracked, check_stack, reserve};
use crate::loops::Loop;
use crate::object::{Namespace, Object};
use crate::value::Value;

/// The variables of one run of a function: the template itself, a macro, a recursive loop.
pub(crate) struct Activation {
    slots: RefCell<Vec<Option<Value>>>,
    around: Option<Rc<Activation>>,
    /// Whether it is let go of at the end of the render.
    held: Cell<bool>,
}

impl Activation {
    fn new(slots: u32, around: Option<Rc<Activation>>) -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::new(vec![None; slots as usize]),
            around,
            held: Cell::new(false),
        })
    }

    fn at(&self, hops: u32) -> &Self {
        let mut at = self;
        for _ in 0..hops {
            match &at.around {
                Some(around) => at = around,
                None => break,
            }
        }
        at
    }

    fn get(&self, var: Var) -> Option<Value> {
        let slots = self.at(var.hops).slots.borrow();
        slots.get(var.slot as usize).cloned().flatten()
    }

    fn set(&self, var: Var, value: Option<Value>) {
        let before = match self
            .at(var.hops)
            .slots
            .borrow_mut()
            .get_mut(var.slot as usize)
        {
            Some(slot) => std::mem::replace(slot, value),
            None => None,
        };
        drop(before);
    }

    fn set_slot(&self, slot: u32, value: Option<Value>) {
        self.set(Var { hops: 0, slot }, value);
    }
}

/// What may hold itself, and is emptied at the end of a render.
pub(crate) enum Held {
    Namespace(Rc<Namespace>),
    Activation(Rc<Activation>),
    Loop(Rc<Loop>),
}

/// How the statements of a body ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    Break,
    Continue,
}

/// One render of a template.
pub(crate) struct Interp<'a> {
    pub(crate) template: &'a Compiled,
    context: &'a Dict,
    /// What the top level assigned, for blocks.
    exported: HashMap<Arc<str>, Value>,
    pub(crate) autoescape: bool,
    pub(crate) line: u32,
    pub(crate) now: Option<DateTime>,
    calls: u32,
    held: Vec<Held>,
    held_bytes: Tracked,
}

impl Drop for Interp<'_> {
    fn drop(&mut self) {
        // One by one, while the list still holds all of them: no long chain falls at once.
        for held in &self.held {
            match held {
                Held::Namespace(namespace) => drop(namespace.attributes.take()),
                Held::Activation(activation) => drop(activation.slots.take()),
                Held::Loop(state) => state.clear(),
            }
        }
    }
}

impl<'a> Interp<'a> {
    pub(crate) fn new(template: &'a Compiled, context: &'a Dict, now: Option<DateTime>) -> Self {
        Self {
            template,
            context,
            exported: HashMap::new(),
            autoescape: false,
            line: 0,
            now,
            calls: 0,
            held: Vec::new(),
            held_bytes: Tracked::new(0),
        }
    }

    /// Renders the whole template.
    pub(crate) fn run(&mut self) -> Result<String> {
        let template = self.template;
        let activation = Activation::new(template.root.slots, None);
        let mut out = Buffer::new();
        self.enter(&template.root.loads, &activation);
        let done = self.statements(&template.body, &activation, &mut out);
        // The macros of the top level hold its variables, which hold the macros.
        activation.slots.take();
        done?;
        Ok(out.into_string())
    }

    /// Keeps something until the end of the render, when it is emptied.
    pub(crate) fn hold(&mut self, held: Held, bytes: usize) -> Result<()> {
        let bytes = bytes + size_of::<Held>();
        reserve(bytes)?;
        self.held_bytes.grow(bytes);
        self.held.push(held);
        Ok(())
    }

    fn hold_activation(&mut self, activation: &Rc<Activation>) -> Result<()> {
        if activation.held.replace(true) {
            return Ok(());
        }
        let slots = activation.slots.borrow().len();
        let bytes = size_of::<Activation>() + slots * size_of::<Option<Value>>();
        self.hold(Held::Activation(activation.clone()), bytes)
    }

    /// One call deeper, up to the limit.
    pub(crate) fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.calls >= MAX_CALLS {
            return Err(limit(format!(
                "more than {MAX_CALLS} calls inside each other (an endless recursion?)"
            )));
        }
        check_stack()?;
        self.calls += 1;
        let line = self.line;
        let done = run(self)?;
        self.line = line;
        self.calls -= 1;
        Ok(done)
    }

    /// A name of the context: what the top level exported, what was passed in, or a global function.
    fn resolve(&self, name: &str) -> Option<Value> {
        self.exported
            .get(name)
            .or_else(|| self.context.get_str(name))
            .cloned()
            .or_else(|| globals::find(name))
    }

    /// Gives a scope's variables the values that they start with.
    fn enter(&self, loads: &[Load], activation: &Activation) {
        for load in loads {
            match load {
                Load::Resolve(slot, name) => activation.set_slot(*slot, self.resolve(name)),
                Load::Alias(slot, var) => activation.set_slot(*slot, activation.get(*var)),
                Load::Undefined(slot) => activation.set_slot(*slot, None),
            }
        }
    }

    fn assign(&mut self, target: &Target, value: Value, activation: &Activation) -> Result<()> {
        match target {
            Target::Name(_, var) => {
                activation.set(*var, Some(value));
                Ok(())
            }
            Target::Attribute(_, var, attribute) => match activation.get(*var) {
                Some(Value::Object(Object::Namespace(namespace))) => {
                    globals::check_attribute_name(attribute)?;
                    namespace.set(attribute.clone(), value)
                }
                _ => Err(template_runtime_error(
                    "cannot assign attribute on non-namespace object",
                )),
            },
            Target::Tuple(targets) => {
                let mut iter = crate::iter::iterate(&value).map_err(|_| {
                    type_error(format!(
                        "cannot unpack non-iterable {} object",
                        value.type_name()
                    ))
                })?;
                let expected = targets.len();
                let mut items = Vec::with_capacity(expected);
                while let Some(item) = iter.next(self)? {
                    if items.len() == expected {
                        return Err(value_error(format!(
                            "too many values to unpack (expected {expected})"
                        )));
                    }
                    items.push(item);
                }
                if items.len() < expected {
                    return Err(value_error(format!(
                        "not enough values to unpack (expected {expected}, got {})",
                        items.len()
                    )));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item, activation)?;
                }
                Ok(())
            }
        }
    }
}
