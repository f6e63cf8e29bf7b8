//! Expressions.

use std::rc::Rc;

use crate::{
    ast::{Arguments, CompareOp, Const, Expr, FilterCall, Postfix, TestCall},
    compare,
    error::{Result, template_runtime_error, type_error},
    index,
    iter::search,
    limits::work,
    markup::{push_escaped, soft_str},
    methods, ops,
    repr::push_str_of,
    value::{Activation, Args, Buffer, Dict, Interp, Object, Text, Value, reserve_values},
};

impl Const {
    fn value(&self) -> Value {
        match self {
            Self::None => Value::None,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Big(value) => Value::int((**value).clone()),
            Self::Float(value) => Value::Float(*value),
            Self::Str(text) => Value::Str(Text::constant(text.clone())),
        }
    }
}

impl Interp<'_> {
    pub(crate) fn eval(&mut self, expr: &Expr, activation: &Rc<Activation>) -> Result<Value> {
        work(1)?;
        match expr {
            Expr::Const(constant) => Ok(constant.value()),
            Expr::Name(name, var) => Ok(match activation.get(*var) {
                Some(value) => value,
                None => Value::undefined_name(name.clone()),
            }),
            Expr::Postfix(base, links) => {
                let value = self.eval(base, activation)?;
                self.links(value, links, activation)
            }
            Expr::Compare(first, rest) => self.comparison(first, rest, activation),
            Expr::And(items) | Expr::Or(items) => {
                let stops = matches!(expr, Expr::Or(_));
                let mut value = Value::None;
                for item in items {
                    value = self.eval(item, activation)?;
                    if value.is_true()? == stops {
                        break;
                    }
                }
                Ok(value)
            }
            Expr::Not(value) => Ok(Value::Bool(!self.eval(value, activation)?.is_true()?)),
            Expr::Chain(first, rest) => {
                let mut value = self.eval(first, activation)?;
                for (op, operand) in rest {
                    let operand = self.eval(operand, activation)?;
                    if !ops::append(*op, &mut value, &operand)? {
                        value = ops::binary(*op, &value, &operand)?;
                    }
                }
                Ok(value)
            }
            _ => self.rare_expression(expr, activation),
        }
    }

    /// The expressions that are less frequent, away from the stack frame of the others.
    #[inline(never)]
    fn rare_expression(&mut self, expr: &Expr, activation: &Rc<Activation>) -> Result<Value> {
        match expr {
            Expr::Concat(items, escape) => {
                let escape = self.escapes(*escape);
                self.concat(items, escape, activation)
            }
            Expr::Cond(parts) => {
                let (condition, value, otherwise) = &**parts;
                if self.eval(condition, activation)?.is_true()? {
                    return self.eval(value, activation);
                }
                match otherwise {
                    Some(otherwise) => self.eval(otherwise, activation),
                    None => Ok(Value::undefined(format!(
                        "the inline if-expression on line {} evaluated to false and no else section was defined.",
                        self.line
                    ))),
                }
            }
            Expr::List(items) => Value::list(self.items(items, activation)?),
            Expr::Tuple(items) => Value::tuple(self.items(items, activation)?),
            Expr::Dict(pairs) => {
                let mut dict = Dict::builder();
                for (key, value) in pairs {
                    let key = self.eval(key, activation)?;
                    let value = self.eval(value, activation)?;
                    dict.insert(key, value)?;
                }
                dict.finish()
            }
            Expr::Unary(signs, value) => {
                let mut value = self.eval(value, activation)?;
                for sign in signs.iter().rev() {
                    work(1)?;
                    value = ops::unary(*sign, &value)?;
                }
                Ok(value)
            }
            _ => Err(crate::error::unsupported(
                "a slice among several subscripts",
            )),
        }
    }

    fn items(&mut self, items: &[Expr], activation: &Rc<Activation>) -> Result<Vec<Value>> {
        reserve_values(items.len())?;
        let values = items.iter().map(|item| self.eval(item, activation));
        values.collect()
    }

    fn concat(
        &mut self,
        items: &[Expr],
        escape: bool,
        activation: &Rc<Activation>,
    ) -> Result<Value> {
        let mut out = Buffer::new();
        if !escape {
            for item in items {
                let value = self.eval(item, activation)?;
                push_str_of(&value, &mut out)?;
            }
            return Ok(Value::str(Text::from(out)));
        }
        let values = self.items(items, activation)?;
        let safe = values.iter().any(Value::is_markup);
        for value in &values {
            if safe {
                push_escaped(&Value::Str(soft_str(value)?), &mut out)?;
            } else {
                push_str_of(value, &mut out)?;
            }
        }
        Ok(Value::text_like(Text::from(out), safe))
    }

    fn comparison(
        &mut self,
        first: &Expr,
        rest: &[(CompareOp, Expr)],
        activation: &Rc<Activation>,
    ) -> Result<Value> {
        let mut left = self.eval(first, activation)?;
        for (op, right) in rest {
            let right = self.eval(right, activation)?;
            let holds = match (op, &right) {
                (CompareOp::In | CompareOp::NotIn, Value::Object(Object::Iterator(_))) => {
                    let found = search(self, &left, &right)?;
                    found == (*op == CompareOp::In)
                }
                _ => compare::compare(*op, &left, &right)?,
            };
            if !holds {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn links(
        &mut self,
        mut value: Value,
        links: &[Postfix],
        activation: &Rc<Activation>,
    ) -> Result<Value> {
        let mut links = links.iter().peekable();
        while let Some(link) = links.next() {
            work(1)?;
            value = match link {
                Postfix::Attr(name) => {
                    if let Some(Postfix::Call(arguments)) = links.peek()
                        && let Some(method) = methods::find(&value, name)
                        && !methods::changes(&value, method)
                    {
                        links.next();
                        let args = self.arguments(arguments, activation)?;
                        self.line = arguments.line;
                        methods::call(self, &value, method, args)?
                    } else {
                        index::attribute_or_item(self, &value, name)?
                    }
                }
                Postfix::Item(Expr::Slice(parts)) => {
                    let mut bounds = [Value::None, Value::None, Value::None];
                    for (bound, part) in bounds.iter_mut().zip(parts.iter()) {
                        if let Some(part) = part {
                            *bound = self.eval(part, activation)?;
                        }
                    }
                    index::slice(&value, &bounds)?
                }
                Postfix::Item(item) => {
                    let item = self.eval(item, activation)?;
                    index::item_or_attribute(self, &value, &item)?
                }
                Postfix::Call(arguments) => {
                    let args = self.arguments(arguments, activation)?;
                    self.line = arguments.line;
                    self.call_value(&value, args)?
                }
                Postfix::Filter(filter) => self.filter(value, filter, activation)?,
                Postfix::Test(test) => self.test(value, test, activation)?,
            };
        }
        Ok(value)
    }

    /// Evaluates the call of a `call` block, whose last link gets the block as `caller`.
    pub(super) fn eval_call(
        &mut self,
        call: &Expr,
        activation: &Rc<Activation>,
        caller: Value,
    ) -> Result<Value> {
        let Expr::Postfix(base, links) = call else {
            return self.eval(call, activation);
        };
        let Some((Postfix::Call(arguments), before)) = links.split_last() else {
            return self.eval(call, activation);
        };
        let value = self.eval(base, activation)?;
        let callee = self.links(value, before, activation)?;
        let mut args = self.arguments(arguments, activation)?;
        self.line = arguments.line;
        if args.named.iter().any(|(name, _)| **name == *"caller") {
            return Err(type_error(
                "got multiple values for keyword argument 'caller'",
            ));
        }
        args.named.push(("caller".into(), caller));
        self.call_value(&callee, args)
    }

    pub(super) fn filter(
        &mut self,
        value: Value,
        call: &FilterCall,
        activation: &Rc<Activation>,
    ) -> Result<Value> {
        let args = self.arguments(&call.arguments, activation)?;
        self.line = call.arguments.line;
        match call.filter.and_then(|at| self.library.filters.get(at)) {
            Some((_, filter)) => filter(self, value, args),
            None => Err(template_runtime_error(format!(
                "No filter named '{}' found.",
                call.name
            ))),
        }
    }

    fn test(
        &mut self,
        value: Value,
        call: &TestCall,
        activation: &Rc<Activation>,
    ) -> Result<Value> {
        let args = self.arguments(&call.arguments, activation)?;
        self.line = call.arguments.line;
        match call.test.and_then(|at| self.library.tests.get(at)) {
            Some((_, test)) => {
                let holds = test(self, &value, args)?;
                Ok(Value::Bool(holds != call.negated))
            }
            None => Err(template_runtime_error(format!(
                "No test named '{}' found.",
                call.name
            ))),
        }
    }

    fn arguments(&mut self, arguments: &Arguments, activation: &Rc<Activation>) -> Result<Args> {
        let mut args = Args {
            positional: self.items(&arguments.positional, activation)?,
            named: Vec::with_capacity(arguments.named.len()),
        };
        for (name, value) in &arguments.named {
            let value = self.eval(value, activation)?;
            args.named.push((name.clone(), value));
        }
        if let Some(star) = &arguments.star {
            let value = self.eval(star, activation)?;
            if !crate::iter::is_iterable(&value) {
                return Err(type_error(format!(
                    "Value after * must be an iterable, not {}",
                    value.type_name()
                )));
            }
            args.positional.extend(crate::iter::collect(self, &value)?);
        }
        if let Some(star_star) = &arguments.star_star {
            let value = self.eval(star_star, activation)?;
            let Value::Dict(dict) = &value else {
                return Err(value.undefined_error().unwrap_or_else(|| {
                    type_error(format!(
                        "argument after ** must be a mapping, not {}",
                        value.type_name()
                    ))
                }));
            };
            for (key, value) in dict.iter() {
                let Some(name) = key.as_str() else {
                    return Err(type_error("keywords must be strings"));
                };
                if args.named.iter().any(|(given, _)| **given == *name) {
                    return Err(type_error(format!(
                        "got multiple values for keyword argument '{name}'"
                    )));
                }
                args.named.push((name.into(), value.clone()));
            }
        }
        Ok(args)
    }
}
