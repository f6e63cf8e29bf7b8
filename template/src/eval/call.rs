//! Calls.

use std::rc::Rc;

use crate::{
    error::{Result, type_error},
    globals, methods,
    value::{Activation, Args, Buffer, Interp, Macro, Object, Text, Value},
};

impl Interp<'_> {
    pub(crate) fn call_value(&mut self, callee: &Value, args: Args) -> Result<Value> {
        match callee {
            Value::Object(Object::Macro(definition)) => {
                self.deeper(|interp| interp.call_macro(definition, args))
            }
            Value::Object(Object::Function(name)) => globals::call(self, name, args),
            Value::Object(Object::Method(method)) => {
                methods::call(self, &method.of, method.name, args)
            }
            Value::Object(Object::Loop(state)) => state.recurse(self, args),
            Value::Object(Object::Joiner(joiner)) => {
                let [] = args.positional("joiner", 0)?;
                Ok(if joiner.used.replace(true) {
                    joiner.separator.clone()
                } else {
                    Value::str("")
                })
            }
            other => Err(other.undefined_error().unwrap_or_else(|| {
                type_error(format!("'{}' object is not callable", other.type_name()))
            })),
        }
    }

    /// Puts the arguments into the macro's variables and runs its body.
    fn call_macro(&mut self, definition: &Rc<Macro>, mut args: Args) -> Result<Value> {
        let def = &*definition.def;
        let activation = Activation::new(def.slots, Some(definition.around.clone()));
        self.enter(&def.loads, &activation);
        let name = || match &def.name {
            Some(name) => crate::quote::string_repr(name),
            None => "None".to_owned(),
        };
        let mut rest = std::mem::take(&mut args.positional).into_iter();
        let mut found_caller = def.explicit_caller && rest.len() >= def.parameters.len();
        let mut missing = Vec::new();
        for (at, (parameter, slot)) in def.parameters.iter().enumerate() {
            let value = match rest.next() {
                Some(value) => Some(value),
                None => {
                    found_caller |= **parameter == *"caller";
                    args.take_named(parameter)
                }
            };
            if value.is_none() {
                missing.push(at);
            }
            activation.set_slot(*slot, value);
        }
        if let Some(slot) = def.caller
            && !found_caller
        {
            let caller = args.take_named("caller").filter(|caller| !caller.is_none());
            let caller = caller.unwrap_or_else(|| Value::undefined("No caller defined"));
            activation.set_slot(slot, Some(caller));
        }
        if let Some(slot) = def.kwargs {
            let named = std::mem::take(&mut args.named);
            activation.set_slot(slot, Some(Value::dict(named)?));
        } else if let Some((given, _)) = args.named.first() {
            if args.named.iter().any(|(name, _)| **name == *"caller") {
                return Err(type_error(format!(
                    "macro {} was invoked with two values for the special caller argument. This is most likely a bug.",
                    name()
                )));
            }
            return Err(type_error(format!(
                "macro {} takes no keyword argument {}",
                name(),
                crate::quote::string_repr(given)
            )));
        }
        if let Some(slot) = def.varargs {
            activation.set_slot(slot, Some(Value::tuple(rest.collect())?));
        } else if rest.next().is_some() {
            return Err(type_error(format!(
                "macro {} takes not more than {} argument(s)",
                name(),
                def.parameters.len()
            )));
        }
        let without_default = def.parameters.len() - def.defaults.len();
        for at in missing {
            let Some((parameter, slot)) = def.parameters.get(at) else {
                continue;
            };
            let default = at.checked_sub(without_default);
            let value = match default.and_then(|at| def.defaults.get(at)) {
                Some(default) => self.eval(default, &activation)?,
                None => Value::undefined(format!(
                    "parameter {} was not provided",
                    crate::quote::string_repr(parameter)
                )),
            };
            activation.set_slot(*slot, Some(value));
        }
        let autoescape = self.autoescape;
        let mut out = Buffer::new();
        self.statements(&def.body, &activation, &mut out)?;
        Ok(Value::text_like(Text::from(out), autoescape))
    }
}
