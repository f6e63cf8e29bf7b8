//! The kernels for x86-64 on Linux.
//!
//! What a processor has is found out once, in `unit.rs`; functions that use an extension are entered only with proof of
//! it, a [`Unit`].

#![allow(unsafe_code)]

mod amx;
mod attention;
mod avx512;
mod finish;
mod lines;
mod pack;
mod product;
mod rows;
mod sums;
mod unit;
mod vector;

pub(crate) use attention::attention;
pub(crate) use product::{Scratch, gated, linear, mlp};
pub(crate) use unit::Unit;
