//! Every use of a name in a piece of a template, in the order in which Jinja's own visitors come by.

use std::sync::Arc;

use crate::ast::{Arguments, Expr, FilterCall, MacroDef, Output, Postfix, Stmt, StmtKind, Target};

pub(super) enum Use<'a> {
    Load(&'a Arc<str>),
    Store(&'a Arc<str>),
    Parameter(&'a Arc<str>),
}

type See<'s> = dyn FnMut(Use<'_>) + 's;

pub(super) fn argument_names(arguments: &Arguments, see: &mut See) {
    let named = arguments.named.iter().map(|(_, value)| value);
    let all = arguments.positional.iter().chain(named);
    for value in all.chain(&arguments.star).chain(&arguments.star_star) {
        expression_names(value, see);
    }
}

pub(super) fn expression_names(expression: &Expr, see: &mut See) {
    match expression {
        Expr::Const(_) => {}
        Expr::Name(name, _) => see(Use::Load(name)),
        Expr::Tuple(items)
        | Expr::List(items)
        | Expr::Concat(items, _)
        | Expr::And(items)
        | Expr::Or(items) => items.iter().for_each(|item| expression_names(item, see)),
        Expr::Dict(pairs) => {
            for (key, value) in pairs {
                expression_names(key, see);
                expression_names(value, see);
            }
        }
        Expr::Chain(first, rest) => {
            expression_names(first, see);
            rest.iter()
                .for_each(|(_, item)| expression_names(item, see));
        }
        Expr::Compare(first, rest) => {
            expression_names(first, see);
            rest.iter()
                .for_each(|(_, item)| expression_names(item, see));
        }
        Expr::Unary(_, value) | Expr::Not(value) => expression_names(value, see),
        Expr::Cond(parts) => {
            expression_names(&parts.0, see);
            expression_names(&parts.1, see);
            if let Some(otherwise) = &parts.2 {
                expression_names(otherwise, see);
            }
        }
        Expr::Slice(parts) => {
            for part in parts.iter().flatten() {
                expression_names(part, see);
            }
        }
        Expr::Postfix(base, links) => {
            expression_names(base, see);
            for link in links {
                match link {
                    Postfix::Attr(_) => {}
                    Postfix::Item(item) => expression_names(item, see),
                    Postfix::Call(arguments) => argument_names(arguments, see),
                    Postfix::Filter(filter) => argument_names(&filter.arguments, see),
                    Postfix::Test(test) => argument_names(&test.arguments, see),
                }
            }
        }
    }
}

/// Filters that Jinja does not run before the template runs.
const AT_RUN_TIME: [&str; 6] = [
    "map",
    "random",
    "reject",
    "rejectattr",
    "select",
    "selectattr",
];

/// Whether Jinja evaluates the expression before the template runs.
pub(super) fn is_constant(expression: &Expr) -> bool {
    let mut named = false;
    expression_names(expression, &mut |_| named = true);
    !named && !runs_late(expression)
}

/// As [`is_constant`], without filters and tests, which wait where escaping depends on the run.
pub(super) fn is_plain_constant(expression: &Expr) -> bool {
    let late = |link: &Postfix| matches!(link, Postfix::Filter(_) | Postfix::Test(_));
    let filtered = match expression {
        Expr::Postfix(_, links) => links.iter().any(late),
        Expr::Concat(items, _) => items.iter().any(|item| !is_plain_constant(item)),
        _ => false,
    };
    is_constant(expression) && !filtered
}

fn runs_late(expression: &Expr) -> bool {
    match expression {
        Expr::Postfix(base, links) => {
            runs_late(base)
                || links.iter().any(|link| match link {
                    Postfix::Call(_) => true,
                    Postfix::Filter(filter) => AT_RUN_TIME.contains(&&*filter.name),
                    _ => false,
                })
        }
        Expr::Tuple(items)
        | Expr::List(items)
        | Expr::Concat(items, _)
        | Expr::And(items)
        | Expr::Or(items) => items.iter().any(runs_late),
        Expr::Unary(_, value) | Expr::Not(value) => runs_late(value),
        Expr::Chain(first, rest) => {
            runs_late(first) || rest.iter().any(|(_, item)| runs_late(item))
        }
        Expr::Cond(parts) => runs_late(&parts.0) || runs_late(&parts.1),
        _ => false,
    }
}

fn target_names(target: &Target, parameter: bool, see: &mut See) {
    match target {
        Target::Name(name, _) if parameter => see(Use::Parameter(name)),
        Target::Name(name, _) => see(Use::Store(name)),
        Target::Attribute(..) => {}
        Target::Tuple(items) => {
            for item in items {
                target_names(item, parameter, see);
            }
        }
    }
}

fn filter_names(filters: &[FilterCall], see: &mut See) {
    for filter in filters {
        argument_names(&filter.arguments, see);
    }
}

fn macro_names(def: &MacroDef, blocks: bool, see: &mut See) {
    for (name, _) in &def.parameters {
        see(Use::Parameter(name));
    }
    for default in &def.defaults {
        expression_names(default, see);
    }
    body_names(&def.body, blocks, see);
}

/// The names in statements, also in inner scopes; in `block`s only where asked for.
pub(super) fn body_names(body: &[Stmt], blocks: bool, see: &mut See) {
    for stmt in body {
        match &stmt.kind {
            StmtKind::Output(outputs, _) => {
                for output in outputs {
                    if let Output::Expr(value, _) = output {
                        expression_names(value, see);
                    }
                }
            }
            StmtKind::Set(target, value, _) => {
                target_names(target, false, see);
                expression_names(value, see);
            }
            StmtKind::SetBlock {
                target,
                filters,
                body,
                ..
            } => {
                target_names(target, false, see);
                filter_names(filters, see);
                body_names(body, blocks, see);
            }
            StmtKind::If {
                branches,
                otherwise,
            } => {
                for (test, body) in branches {
                    expression_names(test, see);
                    body_names(body, blocks, see);
                }
                body_names(otherwise, blocks, see);
            }
            StmtKind::For(node) => {
                target_names(&node.target, false, see);
                expression_names(&node.iter, see);
                body_names(&node.body, blocks, see);
                body_names(&node.otherwise, blocks, see);
                if let Some(test) = &node.test {
                    expression_names(&test.test, see);
                }
            }
            StmtKind::With { targets, body, .. } => {
                for (target, _) in targets {
                    target_names(target, true, see);
                }
                for (_, value) in targets {
                    expression_names(value, see);
                }
                body_names(body, blocks, see);
            }
            StmtKind::Macro(def, ..) | StmtKind::Generation(def) => macro_names(def, blocks, see),
            StmtKind::Call { def, call } => {
                expression_names(call, see);
                macro_names(def, blocks, see);
            }
            StmtKind::Filter { filters, body, .. } => {
                body_names(body, blocks, see);
                filter_names(filters, see);
            }
            StmtKind::Autoescape { on, body, .. } => {
                expression_names(on, see);
                body_names(body, blocks, see);
            }
            StmtKind::Block(block) if blocks => body_names(&block.body, blocks, see),
            StmtKind::Block(_) | StmtKind::Loader(_) | StmtKind::Break | StmtKind::Continue => {}
        }
    }
}

/// Which of `wanted` the statements load before they store them.
pub(super) fn loaded<'w>(body: &[Stmt], wanted: &[&'w str]) -> Vec<&'w str> {
    let mut open = wanted.to_vec();
    let mut found = Vec::new();
    body_names(body, false, &mut |used| match used {
        Use::Load(name) => {
            if let Some(name) = open.iter().find(|open| ***open == **name)
                && !found.contains(name)
            {
                found.push(*name);
            }
        }
        Use::Store(name) | Use::Parameter(name) => open.retain(|open| **open != **name),
    });
    found
}

/// Whether anything in the statements assigns to `loop`.
pub(super) fn stores_loop(target: &Target, bodies: [&[Stmt]; 2]) -> bool {
    let mut found = false;
    let mut see = |used: Use<'_>| found |= matches!(used, Use::Store(name) if **name == *"loop");
    target_names(target, false, &mut see);
    for body in bodies {
        body_names(body, true, &mut see);
    }
    found
}

/// Calls `see` for every statement, the inner ones included, until it answers true.
fn any_statement(body: &[Stmt], see: &dyn Fn(&Stmt) -> bool) -> bool {
    body.iter().any(|stmt| {
        see(stmt)
            || match &stmt.kind {
                StmtKind::SetBlock { body, .. }
                | StmtKind::With { body, .. }
                | StmtKind::Filter { body, .. }
                | StmtKind::Autoescape { body, .. } => any_statement(body, see),
                StmtKind::If {
                    branches,
                    otherwise,
                } => {
                    branches.iter().any(|(_, body)| any_statement(body, see))
                        || any_statement(otherwise, see)
                }
                StmtKind::For(node) => {
                    any_statement(&node.body, see) || any_statement(&node.otherwise, see)
                }
                StmtKind::Macro(def, ..)
                | StmtKind::Generation(def)
                | StmtKind::Call { def, .. } => any_statement(&def.body, see),
                StmtKind::Block(block) => any_statement(&block.body, see),
                _ => false,
            }
    })
}

pub(super) fn has_blocks(body: &[Stmt]) -> bool {
    any_statement(body, &|stmt| matches!(stmt.kind, StmtKind::Block(_)))
}

pub(super) fn has_scoped_blocks(body: &[Stmt]) -> bool {
    any_statement(
        body,
        &|stmt| matches!(&stmt.kind, StmtKind::Block(block) if block.scoped),
    )
}
