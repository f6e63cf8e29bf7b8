//! A template's syntax tree. Long chains of operators are flat, so that depth is bounded by the parser's limit.

use std::sync::Arc;

use num_bigint::BigInt;

/// The names of filters and tests, each with its place in the table of those that run.
pub(crate) trait Names {
    fn filter_place(&self, name: &str) -> Option<usize>;

    fn test_place(&self, name: &str) -> Option<usize>;
}

/// A variable: how many functions outwards, and where in that function's slots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Var {
    pub(crate) hops: u32,
    pub(crate) slot: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum Const {
    None,
    Bool(bool),
    Int(i64),
    Big(Arc<BigInt>),
    Float(f64),
    Str(Arc<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Neg,
    Pos,
}

/// Whether text is escaped where it is put out: known when compiling, or only when running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Escape {
    #[default]
    Off,
    On,
    Runtime,
}

#[derive(Debug)]
pub(crate) enum Expr {
    Const(Const),
    Name(Arc<str>, Var),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// Operators of one precedence, from left to right.
    Chain(Box<Expr>, Vec<(BinaryOp, Expr)>),
    /// Signs, the innermost last.
    Unary(Vec<UnaryOp>, Box<Expr>),
    Concat(Vec<Expr>, Escape),
    Compare(Box<Expr>, Vec<(CompareOp, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    /// Condition, value, value otherwise.
    Cond(Box<(Expr, Expr, Option<Expr>)>),
    Postfix(Box<Expr>, Vec<Postfix>),
    Slice(Box<[Option<Expr>; 3]>),
}

#[derive(Debug)]
pub(crate) enum Postfix {
    Attr(Arc<str>),
    Item(Expr),
    Call(Box<Arguments>),
    Filter(FilterCall),
    Test(Box<TestCall>),
}

#[derive(Debug)]
pub(crate) struct FilterCall {
    pub(crate) name: Arc<str>,
    /// Its place among the filters, if there is one of this name.
    pub(crate) filter: Option<usize>,
    pub(crate) arguments: Box<Arguments>,
}

#[derive(Debug)]
pub(crate) struct TestCall {
    pub(crate) name: Arc<str>,
    /// Its place among the tests, if there is one of this name.
    pub(crate) test: Option<usize>,
    pub(crate) arguments: Arguments,
    pub(crate) negated: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) line: u32,
    pub(crate) positional: Vec<Expr>,
    pub(crate) named: Vec<(Arc<str>, Expr)>,
    pub(crate) star: Option<Expr>,
    pub(crate) star_star: Option<Expr>,
}

#[derive(Debug)]
pub(crate) enum Target {
    Name(Arc<str>, Var),
    /// `namespace.attribute`.
    Attribute(Arc<str>, Var, Arc<str>),
    Tuple(Vec<Target>),
}

/// What a variable holds when its scope is entered.
#[derive(Debug, Clone)]
pub(crate) enum Load {
    Resolve(u32, Arc<str>),
    Alias(u32, Var),
    Undefined(u32),
}

#[derive(Debug)]
pub(crate) enum Output {
    Text(Arc<str>),
    Expr(Expr, u32),
}

#[derive(Debug)]
pub(crate) struct Stmt {
    pub(crate) line: u32,
    pub(crate) kind: StmtKind,
}

#[derive(Debug)]
pub(crate) enum StmtKind {
    Output(Vec<Output>, Escape),
    Set(Target, Expr, Exports),
    SetBlock {
        target: Target,
        filters: Vec<FilterCall>,
        loads: Vec<Load>,
        body: Vec<Stmt>,
        exports: Exports,
    },
    If {
        branches: Vec<(Expr, Vec<Stmt>)>,
        otherwise: Vec<Stmt>,
    },
    For(Arc<For>),
    With {
        targets: Vec<(Target, Expr)>,
        loads: Vec<Load>,
        body: Vec<Stmt>,
    },
    Macro(Arc<MacroDef>, Var, Exports),
    Call {
        def: Arc<MacroDef>,
        call: Expr,
    },
    /// `{% generation %}`: the body as a macro that is called at once.
    Generation(Arc<MacroDef>),
    Filter {
        filters: Vec<FilterCall>,
        escape: Escape,
        loads: Vec<Load>,
        body: Vec<Stmt>,
    },
    Autoescape {
        on: Expr,
        loads: Vec<Load>,
        body: Vec<Stmt>,
    },
    Block(Arc<Block>),
    /// A tag that needs another template.
    Loader(&'static str),
    Break,
    Continue,
}

/// The names that a statement of the top level puts into the context, where blocks find them.
pub(crate) type Exports = Vec<(Arc<str>, Var)>;

#[derive(Debug)]
pub(crate) struct For {
    pub(crate) target: Target,
    pub(crate) iter: Expr,
    pub(crate) test: Option<LoopTest>,
    pub(crate) body: Vec<Stmt>,
    pub(crate) loads: Vec<Load>,
    pub(crate) otherwise: Vec<Stmt>,
    pub(crate) otherwise_loads: Vec<Load>,
    /// Where `loop` is, if the body asks for it.
    pub(crate) loop_var: Option<u32>,
    pub(crate) recursive: bool,
    /// The slots of a recursive loop, which is a function.
    pub(crate) slots: u32,
    pub(crate) escape: Escape,
}

/// The `if` of a `for`, a function that runs as the loop asks for items.
#[derive(Debug)]
pub(crate) struct LoopTest {
    pub(crate) target: Target,
    pub(crate) test: Expr,
    pub(crate) loads: Vec<Load>,
    pub(crate) slots: u32,
}

#[derive(Debug)]
pub(crate) struct MacroDef {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) parameters: Vec<(Arc<str>, u32)>,
    /// For the last of the parameters.
    pub(crate) defaults: Vec<Expr>,
    pub(crate) caller: Option<u32>,
    pub(crate) kwargs: Option<u32>,
    pub(crate) varargs: Option<u32>,
    pub(crate) explicit_caller: bool,
    pub(crate) loads: Vec<Load>,
    pub(crate) slots: u32,
    pub(crate) body: Vec<Stmt>,
}

#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: Arc<str>,
    pub(crate) scoped: bool,
    pub(crate) required: bool,
    /// What a scoped block sees of the variables around it.
    pub(crate) seen: Vec<(Arc<str>, Var)>,
    pub(crate) loads: Vec<Load>,
    pub(crate) slots: u32,
    pub(crate) body: Vec<Stmt>,
}

impl Expr {
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Const(_) => "const",
            Self::Name(..) => "name",
            Self::Tuple(_) => "tuple",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
            _ => "expression",
        }
    }
}
