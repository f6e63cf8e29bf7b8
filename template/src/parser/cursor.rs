//! The tokens of a template, and where the parser is among them.

use std::sync::Arc;

use crate::{
    ast::Names,
    error::{Error, Result},
    lexer::{Token, tokenize},
    limits::MAX_NESTING,
};

pub(super) struct Parser<'a> {
    pub(super) names: &'a dyn Names,
    tokens: Vec<(Token, u32)>,
    at: usize,
    nesting: u32,
    /// The names of the tags around here, for messages.
    pub(super) open_tags: Vec<String>,
    pub(super) ends: Vec<&'static [&'static str]>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: &str, names: &'a dyn Names) -> Result<Self> {
        Ok(Self {
            names,
            tokens: tokenize(source)?,
            at: 0,
            nesting: 0,
            open_tags: Vec::new(),
            ends: Vec::new(),
        })
    }

    pub(super) fn token(&self) -> &Token {
        self.tokens
            .get(self.at)
            .map_or(&Token::Eof, |token| &token.0)
    }

    pub(super) fn look(&self) -> &Token {
        let next = self.tokens.get(self.at + 1);
        next.map_or(&Token::Eof, |token| &token.0)
    }

    pub(super) fn line(&self) -> u32 {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        token.map_or(1, |token| token.1)
    }

    pub(super) fn skip(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Error::syntax(message, self.line()))
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.token().is_name(name);
        if found {
            self.skip();
        }
        found
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let found = self.token().is_op(op);
        if found {
            self.skip();
        }
        found
    }

    pub(super) fn expected<T>(&self, what: &str) -> Result<T> {
        match self.token() {
            Token::Eof => self.fail(format!("unexpected end of template, expected '{what}'.")),
            token => self.fail(format!(
                "expected token '{what}', got '{}'",
                token.describe()
            )),
        }
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Result<()> {
        if self.skip_op(op) {
            return Ok(());
        }
        self.expected(op)
    }

    pub(super) fn expect_name(&mut self, name: &str) -> Result<()> {
        if self.skip_name(name) {
            return Ok(());
        }
        self.expected(name)
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.token() == token {
            self.skip();
            return Ok(());
        }
        self.expected(&token.describe())
    }

    pub(super) fn any_name(&mut self) -> Result<Arc<str>> {
        match self.token() {
            Token::Name(name) => {
                let name = name.clone();
                self.skip();
                Ok(name)
            }
            _ => self.expected("name"),
        }
    }

    /// One level further in, up to the limit.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting >= MAX_NESTING {
            return self.fail(format!(
                "the template is nested more than {MAX_NESTING} levels deep"
            ));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }
}
