use crate::{
    Activation, Attention, Precision, ShapeError, Threads, Weight, operands::check_attention,
    shape_error::require,
};

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
    scratch: crate::x86::Scratch,
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
                scratch: crate::x86::Scratch::default(),
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
    /// many times as fast, vectors twice at most.
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
        let width = width_of_both(gate, up, inner)?;
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

    /// `out[token, n] = gated[token] . down[n]`, of what [`Self::gated`] gives: the same bits as both after each other.
    ///
    /// # Errors
    /// [`ShapeError`] for operands that do not fit each other.
    pub fn mlp(
        &mut self,
        threads: &dyn Threads,
        precision: Precision,
        (x, inner): (&[f32], usize),
        (gate, up, down): (&Weight<'_>, &Weight<'_>, &Weight<'_>),
        activation: Activation,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let intermediate = width_of_both(gate, up, inner)?;
        let width = down.width(intermediate)?;
        check_rows(x, inner, width, out)?;
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        crate::x86::mlp(
            (self.unit, &mut self.scratch),
            threads,
            precision.parts(),
            (x, inner),
            ([gate, up], down),
            (activation, intermediate),
            (out, width),
        );
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let _ = (threads, precision, activation);
        Ok(())
    }

    /// Attention: `out` is `[cells, heads * size]`. A precision tells how exactly tiles multiply; vectors multiply floats.
    ///
    /// # Errors
    /// [`ShapeError`] for operands that do not fit each other, or cells and tokens that are not there.
    pub fn attention(
        &self,
        threads: &dyn Threads,
        precision: Precision,
        attention: &Attention<'_>,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        check_attention(attention, out)?;
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        crate::x86::attention(self.unit, threads, precision.parts(), attention, out);
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let _ = (threads, precision);
        Ok(())
    }
}

/// Outputs of a gate and of what it opens and shuts.
fn width_of_both(gate: &Weight<'_>, up: &Weight<'_>, inner: usize) -> Result<usize, ShapeError> {
    let (width, other) = (gate.width(inner)?, up.width(inner)?);
    require(width == other, || {
        format!("a gate of {width} outputs beside {other}")
    })?;
    Ok(width)
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
