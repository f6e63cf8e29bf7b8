//! A whole run, and the variables that statements set.

use crate::{
    ast::{Load, Stmt, Target},
    error::{Result, template_runtime_error, type_error, value_error},
    globals,
    iter::iterate,
    scope::Root,
    value::{Activation, Buffer, Interp, Object, Value},
};

impl Interp<'_> {
    /// Renders the whole template.
    pub(crate) fn run(&mut self, body: &[Stmt], root: &Root) -> Result<String> {
        let activation = Activation::new(root.slots, None);
        let mut out = Buffer::new();
        self.enter(&root.loads, &activation);
        let done = self.statements(body, &activation, &mut out);
        // The macros of the top level hold its variables, which hold the macros.
        activation.clear();
        done?;
        Ok(out.into_string())
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
    pub(super) fn enter(&self, loads: &[Load], activation: &Activation) {
        for load in loads {
            match load {
                Load::Resolve(slot, name) => activation.set_slot(*slot, self.resolve(name)),
                Load::Alias(slot, var) => activation.set_slot(*slot, activation.get(*var)),
                Load::Undefined(slot) => activation.set_slot(*slot, None),
            }
        }
    }

    pub(super) fn assign(
        &mut self,
        target: &Target,
        value: Value,
        activation: &Activation,
    ) -> Result<()> {
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
                let mut iter = iterate(&value).map_err(|_| {
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
