//! The names in expressions: each gets its variable, and every filter and test must be one that there is.

use super::{names, scopes::Resolver};
use crate::ast::{Arguments, Expr, FilterCall, Postfix};
use crate::error::{Error, Result};

impl Resolver {
    pub(super) fn filters(&mut self, filters: &mut [FilterCall], scope: usize) -> Result<()> {
        for filter in filters {
            self.filter(filter, scope)?;
        }
        Ok(())
    }

    fn filter(&mut self, filter: &mut FilterCall, scope: usize) -> Result<()> {
        if filter.filter.is_none() && !self.soft {
            let message = format!("No filter named '{}'.", filter.name);
            return Err(Error::syntax(message, filter.arguments.line));
        }
        self.arguments(&mut filter.arguments, scope)
    }

    fn arguments(&mut self, arguments: &mut Arguments, scope: usize) -> Result<()> {
        let named = arguments.named.iter_mut().map(|(_, value)| value);
        let all = arguments.positional.iter_mut().chain(named);
        let stars = arguments.star.iter_mut().chain(&mut arguments.star_star);
        for value in all.chain(stars) {
            self.expression(value, scope)?;
        }
        Ok(())
    }

    pub(super) fn expression(&mut self, expression: &mut Expr, scope: usize) -> Result<()> {
        match expression {
            Expr::Const(_) => {}
            Expr::Name(name, var) => *var = self.name(scope, name),
            Expr::Concat(items, escape) => {
                // Jinja joins constants before it runs, as plain text.
                if !items.iter().all(names::is_constant) {
                    *escape = self.escape;
                }
                for item in items {
                    self.expression(item, scope)?;
                }
            }
            Expr::Tuple(items) | Expr::List(items) | Expr::And(items) | Expr::Or(items) => {
                for item in items {
                    self.expression(item, scope)?;
                }
            }
            Expr::Dict(pairs) => {
                for (key, value) in pairs {
                    self.expression(key, scope)?;
                    self.expression(value, scope)?;
                }
            }
            Expr::Chain(first, rest) => {
                self.expression(first, scope)?;
                for (_, item) in rest {
                    self.expression(item, scope)?;
                }
            }
            Expr::Compare(first, rest) => {
                self.expression(first, scope)?;
                for (_, item) in rest {
                    self.expression(item, scope)?;
                }
            }
            Expr::Unary(_, value) | Expr::Not(value) => self.expression(value, scope)?,
            Expr::Cond(parts) => {
                let soft = std::mem::replace(&mut self.soft, true);
                let (condition, value, otherwise) = &mut **parts;
                self.expression(condition, scope)?;
                self.expression(value, scope)?;
                if let Some(otherwise) = otherwise {
                    self.expression(otherwise, scope)?;
                }
                self.soft = soft;
            }
            Expr::Slice(parts) => {
                for part in parts.iter_mut().flatten() {
                    self.expression(part, scope)?;
                }
            }
            Expr::Postfix(base, links) => {
                self.expression(base, scope)?;
                for link in links {
                    match link {
                        Postfix::Attr(_) => {}
                        Postfix::Item(item) => self.expression(item, scope)?,
                        Postfix::Call(arguments) => self.arguments(arguments, scope)?,
                        Postfix::Filter(filter) => self.filter(filter, scope)?,
                        Postfix::Test(test) => {
                            if test.test.is_none() && !self.soft {
                                let message = format!("No test named '{}'.", test.name);
                                return Err(Error::syntax(message, test.arguments.line));
                            }
                            self.arguments(&mut test.arguments, scope)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
