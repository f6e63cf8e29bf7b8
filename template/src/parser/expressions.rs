//! Expressions.

use std::sync::Arc;

use super::cursor::Parser;
use crate::ast::{
    Arguments, BinaryOp, CompareOp, Const, Escape, Expr, FilterCall, Postfix, TestCall, UnaryOp,
    Var,
};
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

    fn unary(&mut self) -> Result<Expr> {
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

    pub(super) fn arguments(&mut self) -> Result<Arguments> {
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

fn int(value: &num_bigint::BigInt) -> Const {
    match i64::try_from(value) {
        Ok(small) => Const::Int(small),
        Err(_) => Const::Big(Arc::new(value.clone())),
    }
}

fn one_or(mut all: Vec<Expr>, many: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    if all.len() == 1
        && let Some(one) = all.pop()
    {
        return one;
    }
    many(all)
}
