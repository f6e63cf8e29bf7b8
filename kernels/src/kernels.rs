use std::fmt;

use crate::{Precision, Threads, Weight};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::x86::Unit;

/// A processor without such a unit: there are no kernels then.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {}

/// The kernels of a processor that multiplies bfloat16 numbers.
///
/// Buffers that they need are kept for the next call: at most a few hundred tokens, in bfloat16 numbers.
#[derive(Debug)]
pub struct Kernels {
    unit: Unit,
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    scratch: crate::x86::Lines,
}

/// What a gated layer does with its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// Gelu by its approximation with a hyperbolic tangent.
    GeluTanh,
}

/// Which keys a query sees, and what is done with their scores.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    /// What the products of queries and keys are multiplied by.
    pub scale: f32,
    /// `softcap * tanh(score / softcap)`, where there is one.
    pub softcap: Option<f32>,
    /// How many keys a query sees, with its own: those at its column and before. Default: all.
    pub window: Option<usize>,
}

/// The operands of attention over packed tokens.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// `[tokens, heads * size]`.
    pub query: &'a [f32],
    /// `[tokens, key_value_heads * size]`.
    pub key: &'a [f32],
    /// `[tokens, key_value_heads * size]`.
    pub value: &'a [f32],
    /// Number of heads of queries, a multiple of `key_value_heads`.
    pub heads: usize,
    /// Number of heads of keys and values.
    pub key_value_heads: usize,
    /// Width of a head: a multiple of 16.
    pub size: usize,
    /// `[rows, columns]`: the token that each cell holds.
    pub row_tokens: &'a [i64],
    /// Cells of a row.
    pub columns: usize,
    /// The cells whose tokens attend, as positions in `row_tokens`: each to the cells of its row up to itself.
    pub cells: &'a [i64],
    /// What it sees.
    pub mask: Mask,
}

/// Operands that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// Which, and how.
    pub problem: String,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ShapeError {}

pub(crate) fn require(holds: bool, problem: impl FnOnce() -> String) -> Result<(), ShapeError> {
    match holds {
        true => Ok(()),
        false => Err(ShapeError { problem: problem() }),
    }
}

impl Kernels {
    /// The kernels of this processor, where it has a unit for bfloat16 numbers and the system lets this process use it.
    #[must_use]
    pub fn detect() -> Option<Self> {
        Self::all().into_iter().next()
    }

    /// Kernels for each of the units that this processor has, the fastest first. Their results differ in the last bits.
    #[must_use]
    pub fn all() -> Vec<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        return Unit::all()
            .into_iter()
            .map(|unit| Self {
                unit,
                scratch: crate::x86::Lines::default(),
            })
            .collect();
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        Vec::new()
    }

    /// Name of the unit, as processors' flags have it.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        return self.unit.name();
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        match self.unit {}
    }

    /// Whether products of a precision are faster with this unit than products of floats: tiles multiply bfloat16 numbers
    /// many times as fast, vectors about twice.
    #[must_use]
    pub fn gains(&self, precision: Precision) -> bool {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        return match self.unit {
            Unit::Amx(_) => true,
            Unit::Avx512(_) => precision == Precision::Medium,
        };
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        {
            let _ = precision;
            match self.unit {}
        }
    }

    /// `out[token, n] = x[token] . weight[n] + bias[n]`, where `x` is `[tokens, inner]`.
    ///
    /// # Errors
    /// [`ShapeError`] for operands that do not fit each other.
    pub fn linear(
        &mut self,
        threads: &dyn Threads,
        precision: Precision,
        (x, inner): (&[f32], usize),
        weight: &Weight<'_>,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let width = weight.width(inner)?;
        check_rows(x, inner, width, out)?;
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        crate::x86::linear(
            (self.unit, &mut self.scratch),
            threads,
            precision.parts(),
            (x, inner),
            weight,
            (out, width),
        );
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let _ = (threads, precision, width);
        Ok(())
    }

    /// `out[token, n] = activation(x[token] . gate[n]) * (x[token] . up[n])`, with biases where there are any.
    ///
    /// # Errors
    /// [`ShapeError`] for operands that do not fit each other.
    pub fn gated(
        &mut self,
        threads: &dyn Threads,
        precision: Precision,
        (x, inner): (&[f32], usize),
        (gate, up): (&Weight<'_>, &Weight<'_>),
        activation: Activation,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let width = gate.width(inner)?;
        let other = up.width(inner)?;
        require(width == other, || {
            format!("a gate of {width} outputs beside {other}")
        })?;
        check_rows(x, inner, width, out)?;
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        crate::x86::gated(
            (self.unit, &mut self.scratch),
            threads,
            precision.parts(),
            (x, inner),
            (gate, up),
            activation,
            (out, width),
        );
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let _ = (threads, precision, width, activation);
        Ok(())
    }

    /// Attention in floats: `out` is `[cells, heads * size]`.
    ///
    /// # Errors
    /// [`ShapeError`] for operands that do not fit each other, or cells and tokens that are not there.
    pub fn attention(
        &self,
        threads: &dyn Threads,
        attention: &Attention<'_>,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        check_attention(attention, out)?;
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        crate::x86::attention(threads, attention, out);
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let _ = threads;
        Ok(())
    }
}

fn check_rows(x: &[f32], inner: usize, width: usize, out: &[f32]) -> Result<(), ShapeError> {
    let tokens = x.len() / inner;
    require(
        x.len() == tokens * inner && out.len() == tokens * width,
        || {
            format!(
                "{} inputs of {inner} columns and {} outputs of {width}",
                x.len(),
                out.len()
            )
        },
    )
}

fn check_attention(attention: &Attention<'_>, out: &[f32]) -> Result<(), ShapeError> {
    let &Attention {
        query,
        key,
        value,
        heads,
        key_value_heads,
        size,
        row_tokens,
        columns,
        cells,
        mask,
    } = attention;
    require(
        size > 0 && size.is_multiple_of(16) && key_value_heads > 0,
        || format!("{key_value_heads} heads of {size} elements"),
    )?;
    require(heads > 0 && heads.is_multiple_of(key_value_heads), || {
        format!("{heads} heads of queries for {key_value_heads} of keys")
    })?;
    let tokens = query.len() / (heads * size);
    let (width, narrow) = (heads * size, key_value_heads * size);
    require(
        query.len() == tokens * width
            && key.len() == tokens * narrow
            && value.len() == tokens * narrow,
        || {
            format!(
                "queries, keys and values of {}, {} and {} elements, {width} and {narrow} for a token",
                query.len(),
                key.len(),
                value.len()
            )
        },
    )?;
    require(columns > 0 || row_tokens.is_empty(), || {
        "rows of no columns".to_owned()
    })?;
    require(
        row_tokens.len().is_multiple_of(columns.max(1)) && out.len() == cells.len() * width,
        || {
            format!(
                "{} cells in rows of {columns}, and {} outputs of {width} for {} of them",
                row_tokens.len(),
                out.len(),
                cells.len()
            )
        },
    )?;
    require(mask.window != Some(0), || "a window of no keys".to_owned())?;
    let inside =
        |index: &i64, count: usize| usize::try_from(*index).is_ok_and(|index| index < count);
    let stray = row_tokens.iter().find(|token| !inside(token, tokens));
    require(stray.is_none(), || {
        format!("token {} of {tokens}", stray.unwrap_or(&0))
    })?;
    let stray = cells.iter().find(|cell| !inside(cell, row_tokens.len()));
    require(stray.is_none(), || {
        format!("cell {} of {}", stray.unwrap_or(&0), row_tokens.len())
    })
}
