//! How the arguments of a call find their parameters.

use crate::{
    error::{Result, type_error},
    value::{Args, Value},
};

impl Args {
    /// The value of each parameter, by place or by name; the first `required` must be there.
    pub(crate) fn bind<const N: usize>(
        self,
        function: &str,
        parameters: [&str; N],
        required: usize,
    ) -> Result<[Option<Value>; N]> {
        let given = self.positional.len();
        if given > N {
            return Err(type_error(format!(
                "{function}() takes at most {N} arguments ({given} given)"
            )));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let at = parameters.iter().position(|parameter| **parameter == *name);
            match at.and_then(|at| bound.get_mut(at)) {
                Some(Some(_)) => {
                    return Err(type_error(format!(
                        "{function}() got multiple values for argument '{name}'"
                    )));
                }
                Some(slot) => *slot = Some(value),
                None => {
                    return Err(type_error(format!(
                        "{function}() got an unexpected keyword argument '{name}'"
                    )));
                }
            }
        }
        let missing = bound.iter().zip(parameters).take(required);
        if let Some((_, name)) = missing.clone().find(|(value, _)| value.is_none()) {
            return Err(type_error(format!(
                "{function}() missing 1 required positional argument: '{name}'"
            )));
        }
        Ok(bound)
    }

    /// As [`Self::bind`] for functions that take no names.
    pub(crate) fn positional<const N: usize>(
        self,
        function: &str,
        required: usize,
    ) -> Result<[Option<Value>; N]> {
        let values = self.only_positional(function)?;
        let given = values.len();
        if given > N || given < required {
            let expected = if given > N { N } else { required };
            return Err(type_error(format!(
                "{function}() takes {expected} arguments ({given} given)"
            )));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(values) {
            *slot = Some(value);
        }
        Ok(bound)
    }

    pub(crate) fn only_positional(self, function: &str) -> Result<Vec<Value>> {
        if !self.named.is_empty() {
            return Err(type_error(format!(
                "{function}() takes no keyword arguments"
            )));
        }
        Ok(self.positional)
    }

    pub(crate) fn take_named(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(given, _)| **given == *name)?;
        Some(self.named.remove(at).1)
    }
}
