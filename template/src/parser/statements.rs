//! Statements: the body of a template and of each tag.

use std::sync::Arc;

use super::{cursor::Parser, targets::copy};
use crate::ast::{Block, Escape, FilterCall, For, LoopTest, Names, Output, Stmt, StmtKind};
use crate::{error::Result, lexer::Token};

type Ends = &'static [&'static str];

/// Parses a template.
///
/// # Errors
///
/// A text that is not a template, or is nested too deeply.
pub(crate) fn parse(source: &str, names: &dyn Names) -> Result<Vec<Stmt>> {
    Parser::new(source, names)?.body(&[])
}

impl Parser<'_> {
    /// Statements up to one of the end tags, whose name is the current token afterwards.
    pub(super) fn body(&mut self, ends: Ends) -> Result<Vec<Stmt>> {
        let mut body: Vec<Stmt> = Vec::new();
        self.ends.push(ends);
        loop {
            let line = self.line();
            let output = match self.token() {
                Token::Eof => break,
                Token::Data(text) => {
                    let text = text.clone();
                    self.skip();
                    Output::Text(text)
                }
                Token::VariableBegin => {
                    self.skip();
                    let value = self.tuple(true, &[], false)?;
                    self.expect_token(&Token::VariableEnd)?;
                    Output::Expr(value, line)
                }
                _ => {
                    self.expect_token(&Token::BlockBegin)?;
                    if matches!(self.token(), Token::Name(name) if ends.contains(&&**name)) {
                        self.ends.pop();
                        return Ok(body);
                    }
                    let statement = self.nested(Self::statement)?;
                    body.push(statement);
                    self.expect_token(&Token::BlockEnd)?;
                    continue;
                }
            };
            match body.last_mut() {
                Some(Stmt {
                    kind: StmtKind::Output(outputs, _),
                    ..
                }) if !outputs.is_empty() => outputs.push(output),
                _ => body.push(Stmt {
                    line,
                    kind: StmtKind::Output(vec![output], Escape::Off),
                }),
            }
        }
        if !ends.is_empty() {
            return self.fail_end(None);
        }
        self.ends.pop();
        Ok(body)
    }

    fn fail_end<T>(&self, tag: Option<&str>) -> Result<T> {
        let mut message = match tag {
            None => "Unexpected end of template.".to_owned(),
            Some(tag) => format!("Encountered unknown tag '{tag}'."),
        };
        let quoted = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
            names.join(" or ")
        };
        if let Some(last) = self.ends.last().filter(|ends| !ends.is_empty()) {
            let known = tag.is_some_and(|tag| self.ends.iter().any(|ends| ends.contains(&tag)));
            let looking = quoted(last);
            message += &if known {
                format!(
                    " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for \
                     {looking}."
                )
            } else {
                format!(" Jinja was looking for the following tags: {looking}.")
            };
        }
        if let Some(tag) = self.open_tags.last() {
            message += &format!(" The innermost block that needs to be closed is '{tag}'.");
        }
        self.fail(message)
    }

    /// The body of a tag up to one of its end tags.
    fn inner(&mut self, ends: Ends) -> Result<Vec<Stmt>> {
        self.skip_op(":");
        self.expect_token(&Token::BlockEnd)?;
        self.body(ends)
    }

    /// As [`Self::inner`], with the name of the end tag passed over.
    pub(super) fn whole(&mut self, ends: Ends) -> Result<Vec<Stmt>> {
        let body = self.inner(ends)?;
        self.skip();
        Ok(body)
    }

    fn statement(&mut self) -> Result<Stmt> {
        let line = self.line();
        let Token::Name(name) = self.token().clone() else {
            return self.fail("tag name expected");
        };
        let parse = match &*name {
            "for" => Self::for_loop,
            "if" => Self::condition,
            "block" => Self::block,
            "print" => Self::print,
            "macro" => Self::macro_definition,
            "set" => Self::set,
            "with" => Self::with,
            "autoescape" => Self::autoescape,
            "call" => Self::call_block,
            "filter" => Self::filter_block,
            "generation" => Self::generation,
            "extends" | "include" | "import" | "from" => Self::loader,
            "break" => |parser: &mut Self| {
                parser.skip();
                Ok(StmtKind::Break)
            },
            "continue" => |parser: &mut Self| {
                parser.skip();
                Ok(StmtKind::Continue)
            },
            _ => return self.fail_end(Some(&name)),
        };
        self.open_tags.push(name.to_string());
        let kind = parse(self)?;
        self.open_tags.pop();
        Ok(Stmt { line, kind })
    }

    fn for_loop(&mut self) -> Result<StmtKind> {
        self.skip();
        let target = self.target(&["in"], false)?;
        self.expect_name("in")?;
        let iter = self.tuple(false, &["recursive"], false)?;
        let test = if self.skip_name("if") {
            Some(LoopTest {
                target: copy(&target),
                test: self.expression()?,
                loads: Vec::new(),
                slots: 0,
            })
        } else {
            None
        };
        let recursive = self.skip_name("recursive");
        let body = self.inner(&["endfor", "else"])?;
        let otherwise = if self.skip_name("endfor") {
            Vec::new()
        } else {
            self.skip();
            self.whole(&["endfor"])?
        };
        Ok(StmtKind::For(Arc::new(For {
            target,
            iter,
            test,
            body,
            loads: Vec::new(),
            otherwise,
            otherwise_loads: Vec::new(),
            loop_var: None,
            recursive,
            slots: 0,
            escape: Escape::Off,
        })))
    }

    fn condition(&mut self) -> Result<StmtKind> {
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            // Past `if` or `elif`.
            self.skip();
            let test = self.tuple(false, &[], false)?;
            let body = self.inner(&["elif", "else", "endif"])?;
            branches.push((test, body));
            if self.token().is_name("elif") {
                continue;
            }
            if self.skip_name("else") {
                otherwise = self.whole(&["endif"])?;
            } else {
                self.skip();
            }
            return Ok(StmtKind::If {
                branches,
                otherwise,
            });
        }
    }

    fn print(&mut self) -> Result<StmtKind> {
        self.skip();
        let mut outputs = Vec::new();
        while *self.token() != Token::BlockEnd {
            if !outputs.is_empty() {
                self.expect_op(",")?;
            }
            let line = self.line();
            outputs.push(Output::Expr(self.expression()?, line));
        }
        Ok(StmtKind::Output(outputs, Escape::Off))
    }

    fn set(&mut self) -> Result<StmtKind> {
        self.skip();
        let target = self.target(&[], true)?;
        if self.skip_op("=") {
            let value = self.tuple(true, &[], false)?;
            return Ok(StmtKind::Set(target, value, Vec::new()));
        }
        let mut filters = Vec::new();
        while self.skip_op("|") {
            filters.push(self.filter()?);
        }
        Ok(StmtKind::SetBlock {
            target,
            filters,
            loads: Vec::new(),
            body: self.whole(&["endset"])?,
            exports: Vec::new(),
        })
    }

    fn with(&mut self) -> Result<StmtKind> {
        self.skip();
        let mut targets = Vec::new();
        while *self.token() != Token::BlockEnd {
            if !targets.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(&[], false)?;
            self.expect_op("=")?;
            targets.push((target, self.expression()?));
        }
        Ok(StmtKind::With {
            targets,
            loads: Vec::new(),
            body: self.whole(&["endwith"])?,
        })
    }

    fn autoescape(&mut self) -> Result<StmtKind> {
        self.skip();
        Ok(StmtKind::Autoescape {
            on: self.expression()?,
            loads: Vec::new(),
            body: self.whole(&["endautoescape"])?,
        })
    }

    fn filter_block(&mut self) -> Result<StmtKind> {
        self.skip();
        let mut filters: Vec<FilterCall> = vec![self.filter()?];
        while self.skip_op("|") {
            filters.push(self.filter()?);
        }
        Ok(StmtKind::Filter {
            filters,
            escape: Escape::Off,
            loads: Vec::new(),
            body: self.whole(&["endfilter"])?,
        })
    }

    fn block(&mut self) -> Result<StmtKind> {
        self.skip();
        let name = self.any_name()?;
        let scoped = self.skip_name("scoped");
        let required = self.skip_name("required");
        if self.token().is_op("-") {
            return self.fail(
                "Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an \
                 underscore instead.",
            );
        }
        let body = self.whole(&["endblock"])?;
        let blank = |stmt: &Stmt| match &stmt.kind {
            StmtKind::Output(outputs, _) => outputs.iter().all(|output| match output {
                Output::Text(text) => text.chars().all(crate::unicode::is_space),
                Output::Expr(..) => false,
            }),
            _ => false,
        };
        if required && !body.iter().all(blank) {
            return self.fail("Required blocks can only contain comments or whitespace");
        }
        self.skip_name(&name);
        Ok(StmtKind::Block(Arc::new(Block {
            name,
            scoped,
            required,
            seen: Vec::new(),
            loads: Vec::new(),
            slots: 0,
            body,
        })))
    }

    /// Tags that name another template: there is none, which is an error where they run.
    fn loader(&mut self) -> Result<StmtKind> {
        let Token::Name(tag) = self.token().clone() else {
            return self.fail("tag name expected");
        };
        self.skip();
        self.expression()?;
        let name = match &*tag {
            "extends" => "extends",
            "include" => "include",
            "import" => {
                self.expect_name("as")?;
                self.any_name()?;
                "import"
            }
            _ => {
                self.expect_name("import")?;
                "from"
            }
        };
        while *self.token() != Token::BlockEnd {
            match self.token() {
                Token::Name(_) | Token::Op(",") => self.skip(),
                _ => return self.expected("end of statement block"),
            }
        }
        Ok(StmtKind::Loader(name))
    }
}
