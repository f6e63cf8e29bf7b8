//! Expressions: operators by how tightly they bind, and the values between them.

use std::sync::Arc;

use super::cursor::Parser;
use crate::ast::{BinaryOp, CompareOp, Const, Escape, Expr, Var};
use crate::{error::Result, lexer::Token};

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.nested(Self::conditional)
    }

    fn conditional(&mut self) -> Result<Expr> {
        let mut value = self.or()?;
        let mut links = 0;
        while self.skip_name("if") {
            links += 1;
            if links > 20 {
                return self.fail("more than 20 conditions follow one value");
            }
            let condition = self.or()?;
            let otherwise = if self.skip_name("else") {
                Some(self.nested(Self::conditional)?)
            } else {
                None
            };
            value = Expr::Cond(Box::new((condition, value, otherwise)));
        }
        Ok(value)
    }

    pub(super) fn or(&mut self) -> Result<Expr> {
        let first = self.and()?;
        let mut all = vec![first];
        while self.skip_name("or") {
            all.push(self.and()?);
        }
        Ok(one_or(all, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr> {
        let mut all = vec![self.not()?];
        while self.skip_name("and") {
            all.push(self.not()?);
        }
        Ok(one_or(all, Expr::And))
    }

    fn not(&mut self) -> Result<Expr> {
        let mut count = 0usize;
        while self.skip_name("not") {
            count += 1;
        }
        let value = self.compare()?;
        Ok(match count {
            0 => value,
            // Two of them make a truth value of anything.
            count if count % 2 == 0 => Expr::Not(Box::new(Expr::Not(Box::new(value)))),
            _ => Expr::Not(Box::new(value)),
        })
    }

    fn compare(&mut self) -> Result<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let op = match self.token() {
                Token::Op("==") => CompareOp::Eq,
                Token::Op("!=") => CompareOp::Ne,
                Token::Op("<") => CompareOp::Lt,
                Token::Op("<=") => CompareOp::Le,
                Token::Op(">") => CompareOp::Gt,
                Token::Op(">=") => CompareOp::Ge,
                token if token.is_name("in") => CompareOp::In,
                token if token.is_name("not") && self.look().is_name("in") => {
                    self.skip();
                    CompareOp::NotIn
                }
                _ => break,
            };
            self.skip();
            rest.push((op, self.sum()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expr::Compare(Box::new(first), rest))
    }

    fn chain(
        &mut self,
        operand: fn(&mut Self) -> Result<Expr>,
        operators: &[(&str, BinaryOp)],
    ) -> Result<Expr> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Token::Op(found) = self.token()
            && let Some((_, op)) = operators.iter().find(|(text, _)| text == found)
        {
            self.skip();
            rest.push((*op, operand(self)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expr::Chain(Box::new(first), rest))
    }

    fn sum(&mut self) -> Result<Expr> {
        self.chain(Self::concat, &[("+", BinaryOp::Add), ("-", BinaryOp::Sub)])
    }

    fn concat(&mut self) -> Result<Expr> {
        let mut all = vec![self.product()?];
        while self.skip_op("~") {
            all.push(self.product()?);
        }
        Ok(one_or(all, |all| Expr::Concat(all, Escape::Off)))
    }

    fn product(&mut self) -> Result<Expr> {
        self.chain(
            Self::power,
            &[
                ("*", BinaryOp::Mul),
                ("/", BinaryOp::Div),
                ("//", BinaryOp::FloorDiv),
                ("%", BinaryOp::Mod),
            ],
        )
    }

    fn power(&mut self) -> Result<Expr> {
        self.chain(Self::unary, &[("**", BinaryOp::Pow)])
    }

    pub(super) fn primary(&mut self) -> Result<Expr> {
        let token = self.token().clone();
        let constant = match token {
            Token::Name(name) => {
                self.skip();
                match &*name {
                    "true" | "True" => Const::Bool(true),
                    "false" | "False" => Const::Bool(false),
                    "none" | "None" => Const::None,
                    _ => return Ok(Expr::Name(name, Var::default())),
                }
            }
            Token::Str(mut text) => {
                self.skip();
                while let Token::Str(more) = self.token() {
                    text.push_str(more);
                    self.skip();
                }
                Const::Str(text.into())
            }
            Token::Int(value) => {
                self.skip();
                int(&value)
            }
            Token::Float(value) => {
                self.skip();
                Const::Float(value)
            }
            Token::Op("(") => {
                self.skip();
                let value = self.tuple(true, &[], true)?;
                self.expect_op(")")?;
                return Ok(value);
            }
            Token::Op("[") => {
                self.skip();
                let items = self.separated("]", |parser| parser.expression())?;
                return Ok(Expr::List(items));
            }
            Token::Op("{") => {
                self.skip();
                let pairs = self.separated("}", |parser| {
                    let key = parser.expression()?;
                    parser.expect_op(":")?;
                    Ok((key, parser.expression()?))
                })?;
                return Ok(Expr::Dict(pairs));
            }
            token => return self.fail(format!("unexpected '{}'", token.describe())),
        };
        Ok(Expr::Const(constant))
    }

    fn separated<T>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.token().is_op(end) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.token().is_op(end) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        self.expect_op(end)?;
        Ok(items)
    }

    /// One expression, or several with commas between: a tuple.
    pub(super) fn tuple(
        &mut self,
        conditional: bool,
        end_names: &[&str],
        parenthesised: bool,
    ) -> Result<Expr> {
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
            items.push(if conditional {
                self.expression()?
            } else {
                self.nested(Self::or)?
            });
            if !self.token().is_op(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(item) = items.pop() {
                return Ok(item);
            }
            if !parenthesised {
                let found = self.token().describe();
                return self.fail(format!("Expected an expression, got '{found}'"));
            }
        }
        Ok(Expr::Tuple(items))
    }
}

pub(super) fn int(value: &num_bigint::BigInt) -> Const {
    match i64::try_from(value) {
        Ok(small) => Const::Int(small),
        Err(_) => Const::Big(Arc::new(value.clone())),
    }
}

pub(super) fn one_or(mut all: Vec<Expr>, many: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    if all.len() == 1
        && let Some(one) = all.pop()
    {
        return one;
    }
    many(all)
}
