//! The first pass: which scopes there are, and which names each of them loads and stores.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use indexmap::IndexMap;

use super::names::{Use, argument_names, expression_names};
use crate::ast::{Escape, Expr, Load, Names, Output, Stmt, StmtKind, Target, Var};

/// A function and one of its slots.
type Slot = (usize, u32);

#[derive(Clone)]
enum Origin {
    Parameter,
    Resolve(Arc<str>),
    Alias(Slot),
    Undefined,
}

#[derive(Clone)]
pub(super) struct Scope {
    pub(super) parent: Option<usize>,
    pub(super) function: usize,
    level: u32,
    refs: HashMap<Arc<str>, Slot>,
    origins: IndexMap<Slot, Origin>,
    pub(super) stores: HashSet<Arc<str>>,
}

#[derive(Default)]
struct Function {
    parent: Option<usize>,
    slots: HashMap<(u32, Arc<str>), u32>,
}

#[derive(Default)]
pub(super) struct Resolver {
    /// The places of the filters `escape` and `safe`.
    pub(super) escape_filter: Option<usize>,
    pub(super) safe_filter: Option<usize>,
    pub(super) scopes: Vec<Scope>,
    functions: Vec<Function>,
    pub(super) has_blocks: bool,
    pub(super) block_names: HashSet<Arc<str>>,
    /// Whether assignments here go into the context as well.
    pub(super) toplevel: bool,
    /// Inside an `if`, unknown filters are an error only where they run.
    pub(super) soft: bool,
    pub(super) escape: Escape,
    /// What `escape` was before it depended on the run: constants go by it.
    pub(super) escapes_constants: bool,
    /// Loops around here, in the same function.
    pub(super) loops: u32,
    pub(super) line: u32,
}

#[allow(clippy::indexing_slicing)]
impl Resolver {
    pub(super) fn new(names: &dyn Names, has_blocks: bool) -> Self {
        Self {
            escape_filter: names.filter_place("escape"),
            safe_filter: names.filter_place("safe"),
            has_blocks,
            ..Self::default()
        }
    }

    pub(super) fn function(&mut self, parent: Option<usize>) -> usize {
        self.functions.push(Function {
            parent,
            slots: HashMap::new(),
        });
        self.functions.len() - 1
    }

    pub(super) fn scope(&mut self, parent: Option<usize>, function: usize) -> usize {
        self.scopes.push(Scope {
            parent,
            function,
            level: parent.map_or(0, |parent| self.scopes[parent].level + 1),
            refs: HashMap::new(),
            origins: IndexMap::new(),
            stores: HashSet::new(),
        });
        self.scopes.len() - 1
    }

    pub(super) fn slots(&self, function: usize) -> u32 {
        u32::try_from(self.functions[function].slots.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn find(&self, scope: usize, name: &str) -> Option<Slot> {
        let mut at = Some(scope);
        while let Some(scope) = at {
            let scope = &self.scopes[scope];
            if let Some(slot) = scope.refs.get(name) {
                return Some(*slot);
            }
            at = scope.parent;
        }
        None
    }

    fn define(&mut self, scope: usize, name: &Arc<str>, origin: Origin) -> u32 {
        let function = self.scopes[scope].function;
        let key = (self.scopes[scope].level, name.clone());
        let slots = &mut self.functions[function].slots;
        let next = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let slot = *slots.entry(key).or_insert(next);
        let scope = &mut self.scopes[scope];
        scope.refs.insert(name.clone(), (function, slot));
        scope.origins.insert((function, slot), origin);
        slot
    }

    fn load(&mut self, scope: usize, name: &Arc<str>) {
        if self.find(scope, name).is_none() {
            self.define(scope, name, Origin::Resolve(name.clone()));
        }
    }

    fn store(&mut self, scope: usize, name: &Arc<str>) {
        self.scopes[scope].stores.insert(name.clone());
        if self.scopes[scope].refs.contains_key(name) {
            return;
        }
        let outer = self.scopes[scope]
            .parent
            .and_then(|parent| self.find(parent, name));
        let origin = outer.map_or(Origin::Undefined, Origin::Alias);
        self.define(scope, name, origin);
    }

    pub(super) fn parameter(&mut self, scope: usize, name: &Arc<str>) -> u32 {
        self.scopes[scope].stores.insert(name.clone());
        self.define(scope, name, Origin::Parameter)
    }

    pub(super) fn store_target(&mut self, scope: usize, target: &Target, parameter: bool) {
        match target {
            Target::Name(name, _) if parameter => {
                self.parameter(scope, name);
            }
            Target::Name(name, _) => self.store(scope, name),
            Target::Attribute(name, ..) => self.load(scope, name),
            Target::Tuple(items) => {
                for item in items {
                    self.store_target(scope, item, parameter);
                }
            }
        }
    }

    pub(super) fn analyse_expression(&mut self, scope: usize, expression: &Expr) {
        expression_names(expression, &mut |used| {
            if let Use::Load(name) = used {
                self.load(scope, name);
            }
        });
    }

    /// Notes what the statements of one scope load and store, in order, without going into inner scopes.
    pub(super) fn analyse(&mut self, scope: usize, body: &[Stmt]) {
        for stmt in body {
            match &stmt.kind {
                StmtKind::Output(outputs, _) => {
                    for output in outputs {
                        if let Output::Expr(value, _) = output {
                            self.analyse_expression(scope, value);
                        }
                    }
                }
                StmtKind::Set(target, value, _) => {
                    self.analyse_expression(scope, value);
                    self.store_target(scope, target, false);
                }
                StmtKind::SetBlock { target, .. } => self.store_target(scope, target, false),
                StmtKind::If {
                    branches,
                    otherwise,
                } => self.analyse_if(scope, branches, otherwise),
                StmtKind::For(node) => self.analyse_expression(scope, &node.iter),
                StmtKind::With { targets, .. } => {
                    for (_, value) in targets {
                        self.analyse_expression(scope, value);
                    }
                }
                StmtKind::Macro(def, ..) => {
                    if let Some(name) = &def.name {
                        self.store(scope, name);
                    }
                }
                StmtKind::Call { call, .. } => self.analyse_expression(scope, call),
                StmtKind::Filter { filters, .. } => {
                    for filter in filters {
                        argument_names(&filter.arguments, &mut |used| {
                            if let Use::Load(name) = used {
                                self.load(scope, name);
                            }
                        });
                    }
                }
                StmtKind::Generation(_)
                | StmtKind::Autoescape { .. }
                | StmtKind::Block(_)
                | StmtKind::Loader(_)
                | StmtKind::Break
                | StmtKind::Continue => {}
            }
        }
    }

    fn branch(&mut self, scope: usize, analyse: impl FnOnce(&mut Self, usize)) -> usize {
        let copy = self.scopes[scope].clone();
        self.scopes.push(copy);
        let branch = self.scopes.len() - 1;
        analyse(self, branch);
        branch
    }

    fn analyse_if(&mut self, scope: usize, branches: &[(Expr, Vec<Stmt>)], otherwise: &[Stmt]) {
        let Some(((test, body), elifs)) = branches.split_first() else {
            return;
        };
        self.analyse_expression(scope, test);
        let first = self.branch(scope, |this, at| this.analyse(at, body));
        let middle = self.branch(scope, |this, at| {
            for (test, body) in elifs {
                this.analyse_expression(at, test);
                let only = this.branch(at, |this, at| this.analyse(at, body));
                let empty = this.branch(at, |_, _| {});
                this.merge(at, &[only, empty]);
            }
        });
        let last = self.branch(scope, |this, at| this.analyse(at, otherwise));
        self.merge(scope, &[first, middle, last]);
    }

    /// A name that only some branches assign to keeps its outer value in the others.
    fn merge(&mut self, scope: usize, branches: &[usize]) {
        let mut counts: IndexMap<Arc<str>, usize> = IndexMap::new();
        for branch in branches {
            for name in &self.scopes[*branch].stores {
                if !self.scopes[scope].stores.contains(name) {
                    *counts.entry(name.clone()).or_default() += 1;
                }
            }
        }
        for branch in branches {
            let branch = self.scopes[*branch].clone();
            let scope = &mut self.scopes[scope];
            scope.refs.extend(branch.refs);
            scope.origins.extend(branch.origins);
            scope.stores.extend(branch.stores);
        }
        for (name, count) in counts {
            if count == branches.len() {
                continue;
            }
            let Some(slot) = self.find(scope, &name) else {
                continue;
            };
            let outer = self.scopes[scope]
                .parent
                .and_then(|parent| self.find(parent, &name));
            let origin = outer.map_or(Origin::Resolve(name), Origin::Alias);
            self.scopes[scope].origins.insert(slot, origin);
        }
    }

    pub(super) fn var(&self, function: usize, slot: Slot) -> Var {
        let mut hops = 0;
        let mut at = function;
        while at != slot.0 {
            hops += 1;
            match self.functions[at].parent {
                Some(parent) => at = parent,
                None => break,
            }
        }
        Var { hops, slot: slot.1 }
    }

    pub(super) fn name(&mut self, scope: usize, name: &Arc<str>) -> Var {
        self.load(scope, name);
        let function = self.scopes[scope].function;
        match self.find(scope, name) {
            Some(slot) => self.var(function, slot),
            None => Var::default(),
        }
    }

    /// What to do when the scope is entered.
    pub(super) fn loads(&self, scope: usize) -> Vec<Load> {
        let function = self.scopes[scope].function;
        let origins = self.scopes[scope].origins.iter();
        origins
            .filter(|((owner, _), _)| *owner == function)
            .filter_map(|((_, slot), origin)| match origin {
                Origin::Parameter => None,
                Origin::Resolve(name) => Some(Load::Resolve(*slot, name.clone())),
                Origin::Alias(outer) => Some(Load::Alias(*slot, self.var(function, *outer))),
                Origin::Undefined => Some(Load::Undefined(*slot)),
            })
            .collect()
    }
}
