//! What stands around a value: signs before it; attributes, items, calls, filters and tests after it.

use std::sync::Arc;

use super::{
    cursor::Parser,
    expressions::{int, one_or},
};
use crate::ast::{Arguments, Expr, FilterCall, Postfix, TestCall, UnaryOp};
use crate::{error::Result, lexer::Token};

/// Postfix operators and filters after one value; more are nested.
fn chained(base: Expr, links: Vec<Postfix>) -> Expr {
    if links.is_empty() {
        return base;
    }
    match base {
        Expr::Postfix(inner, mut before) => {
            before.extend(links);
            Expr::Postfix(inner, before)
        }
        base => Expr::Postfix(Box::new(base), links),
    }
}

impl Parser<'_> {
    pub(super) fn unary(&mut self) -> Result<Expr> {
        let mut signs = Vec::new();
        loop {
            match self.token() {
                Token::Op("-") => signs.push(UnaryOp::Neg),
                Token::Op("+") => signs.push(UnaryOp::Pos),
                _ => break,
            }
            self.skip();
        }
        let base = self.primary()?;
        let mut links = Vec::new();
        self.postfix(&mut links)?;
        let mut value = chained(base, links);
        if !signs.is_empty() {
            value = Expr::Unary(signs, Box::new(value));
        }
        let mut links = Vec::new();
        loop {
            match self.token() {
                Token::Op("|") => {
                    self.skip();
                    links.push(Postfix::Filter(self.filter()?));
                }
                Token::Op("(") => links.push(Postfix::Call(Box::new(self.arguments()?))),
                token if token.is_name("is") => links.push(self.test()?),
                _ => break,
            }
        }
        Ok(chained(value, links))
    }

    fn postfix(&mut self, links: &mut Vec<Postfix>) -> Result<()> {
        loop {
            match self.token() {
                Token::Op(".") => {
                    self.skip();
                    let link = match self.token() {
                        Token::Name(name) => Postfix::Attr(name.clone()),
                        Token::Int(index) => Postfix::Item(Expr::Const(int(index))),
                        _ => return self.fail("expected name or number"),
                    };
                    self.skip();
                    links.push(link);
                }
                Token::Op("[") => {
                    self.skip();
                    let mut items = Vec::new();
                    while !self.token().is_op("]") {
                        if !items.is_empty() {
                            self.expect_op(",")?;
                        }
                        items.push(self.subscript()?);
                    }
                    self.expect_op("]")?;
                    links.push(Postfix::Item(one_or(items, Expr::Tuple)));
                }
                Token::Op("(") => links.push(Postfix::Call(Box::new(self.arguments()?))),
                _ => return Ok(()),
            }
        }
    }

    fn subscript(&mut self) -> Result<Expr> {
        let ends = |parser: &Self| parser.token().is_op("]") || parser.token().is_op(",");
        let start = if self.token().is_op(":") {
            None
        } else {
            let value = self.expression()?;
            if !self.token().is_op(":") {
                return Ok(value);
            }
            Some(value)
        };
        self.skip();
        let stop = if self.token().is_op(":") || ends(self) {
            None
        } else {
            Some(self.expression()?)
        };
        let step = if self.skip_op(":") && !ends(self) {
            Some(self.expression()?)
        } else {
            None
        };
        Ok(Expr::Slice(Box::new([start, stop, step])))
    }

    fn arguments(&mut self) -> Result<Arguments> {
        let mut arguments = Arguments {
            line: self.line(),
            ..Arguments::default()
        };
        self.expect_op("(")?;
        let mut first = true;
        while !self.token().is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.token().is_op(")") {
                    break;
                }
            }
            first = false;
            let misplaced = "invalid syntax for function call expression";
            if self.skip_op("*") {
                if arguments.star.is_some() || arguments.star_star.is_some() {
                    return self.fail(misplaced);
                }
                arguments.star = Some(self.expression()?);
            } else if self.skip_op("**") {
                if arguments.star_star.is_some() {
                    return self.fail(misplaced);
                }
                arguments.star_star = Some(self.expression()?);
            } else if let Token::Name(name) = self.token().clone()
                && self.look().is_op("=")
            {
                if arguments.star_star.is_some() {
                    return self.fail(misplaced);
                }
                if arguments.named.iter().any(|(given, _)| *given == name) {
                    return self.fail(format!("keyword argument repeated: {name}"));
                }
                self.skip();
                self.skip();
                let value = self.expression()?;
                arguments.named.push((name, value));
            } else {
                if arguments.star.is_some()
                    || arguments.star_star.is_some()
                    || !arguments.named.is_empty()
                {
                    return self.fail(misplaced);
                }
                arguments.positional.push(self.expression()?);
            }
        }
        self.expect_op(")")?;
        Ok(arguments)
    }

    fn dotted_name(&mut self) -> Result<Arc<str>> {
        let mut name = self.any_name()?;
        while self.skip_op(".") {
            name = format!("{name}.{}", self.any_name()?).into();
        }
        Ok(name)
    }

    /// A filter's name and arguments, after its bar.
    pub(super) fn filter(&mut self) -> Result<FilterCall> {
        let line = self.line();
        let name = self.dotted_name()?;
        let mut arguments = if self.token().is_op("(") {
            self.arguments()?
        } else {
            Arguments::default()
        };
        arguments.line = line;
        Ok(FilterCall {
            filter: self.names.filter_place(&name),
            name,
            arguments: Box::new(arguments),
        })
    }

    fn test(&mut self) -> Result<Postfix> {
        let line = self.line();
        self.skip();
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let mut arguments = Arguments::default();
        let starts_value = match self.token() {
            Token::Op("(") => {
                arguments = self.arguments()?;
                false
            }
            Token::Name(name) => !matches!(&**name, "else" | "or" | "and"),
            Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Op("[" | "{") => true,
            _ => false,
        };
        if starts_value {
            if self.token().is_name("is") {
                return self.fail("You cannot chain multiple tests with is");
            }
            let base = self.primary()?;
            let mut links = Vec::new();
            self.postfix(&mut links)?;
            arguments.positional.push(chained(base, links));
        }
        arguments.line = line;
        Ok(Postfix::Test(Box::new(TestCall {
            test: self.names.test_place(&name),
            name,
            arguments,
            negated,
        })))
    }
}
