//! Running a template.

mod call;
mod expressions;
mod loops;
mod run;
mod statements;
