//! What is assigned to.

use super::cursor::Parser;
use crate::ast::{Expr, Target, Var};
use crate::{error::Result, lexer::Token};

impl Parser<'_> {
    /// What is assigned to: a name, `namespace.attribute` where allowed, or a tuple of them.
    pub(super) fn target(&mut self, end_names: &[&str], attributes: bool) -> Result<Target> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            let ends = match self.token() {
                Token::VariableEnd | Token::BlockEnd | Token::Op(")") => true,
                token => end_names.iter().any(|name| token.is_name(name)),
            };
            if ends {
                break;
            }
            items.push(self.single_target(attributes)?);
            if !self.token().is_op(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(item) = items.pop() {
                return Ok(item);
            }
            let found = self.token().describe();
            return self.fail(format!("Expected an expression, got '{found}'"));
        }
        Ok(Target::Tuple(items))
    }

    fn single_target(&mut self, attributes: bool) -> Result<Target> {
        if attributes
            && let Token::Name(name) = self.token().clone()
            && self.look().is_op(".")
            && !is_constant(&name)
        {
            self.skip();
            self.skip();
            let attribute = self.any_name()?;
            return Ok(Target::Attribute(name, Var::default(), attribute));
        }
        let value = self.nested(Self::primary)?;
        self.as_target(value)
    }

    fn as_target(&self, value: Expr) -> Result<Target> {
        match value {
            Expr::Name(name, var) => Ok(Target::Name(name, var)),
            Expr::Tuple(items) => {
                let items = items.into_iter().map(|item| self.as_target(item));
                Ok(Target::Tuple(items.collect::<Result<_>>()?))
            }
            other => self.fail(format!("can't assign to '{}'", other.kind_name())),
        }
    }
}

fn is_constant(name: &str) -> bool {
    matches!(name, "true" | "True" | "false" | "False" | "none" | "None")
}

pub(super) fn copy(target: &Target) -> Target {
    match target {
        Target::Name(name, var) => Target::Name(name.clone(), *var),
        Target::Attribute(name, var, attribute) => {
            Target::Attribute(name.clone(), *var, attribute.clone())
        }
        Target::Tuple(items) => Target::Tuple(items.iter().map(copy).collect()),
    }
}
