//! Makes the bytes of the new tensors of a chunk of an old one, piece by piece.

use std::sync::Arc;

use worldpm_ort_bundle::float_type::{self, Overflowed};

use super::{
    gptq,
    job::Job,
    low_rank::{Factors, LowRank},
    rules::Rules,
};
use crate::{
    calibration::Factor,
    error::{Error, Result},
};

/// Elements that are decoded and encoded together: they stay in the nearest caches.
const PIECE: usize = 8192;

/// What a worker keeps between chunks.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) input: Vec<u8>,
    values: Vec<f32>,
    pub(super) outputs: Vec<Vec<u8>>,
    /// What was added last: most chunks that follow need it too.
    factors: Option<Arc<Factors>>,
    /// What was rounded with last, likewise.
    factor: Option<Arc<Factor>>,
}

/// Encodes the chunk in `buffers.input`, which begins at unit `first`, piece by piece.
pub(super) fn encode(
    job: &Job,
    unit: usize,
    first: u64,
    buffers: &mut Buffers,
    rules: &Rules<'_>,
) -> Result<Overflowed> {
    let Buffers {
        input,
        values,
        outputs,
        factors,
        factor,
    } = buffers;
    let element = job.source.float.bytes();
    let units = input.len() / (unit * element);
    let factor = match rules.inputs(job) {
        Some(inputs) => Some(&**factor.insert(inputs.factor(rules.threads())?)),
        None => None,
    };
    // Factors are read once for many rows.
    let piece = match (&job.source.update, factor) {
        (None, None) => (PIECE / unit).max(1),
        _ => units,
    };
    outputs.resize_with(job.outputs.len(), Vec::new);
    for (bytes, output) in outputs.iter_mut().zip(&job.outputs) {
        bytes.resize(units * output.unit_bytes as usize, 0);
    }
    let mut found = Overflowed::default();
    let mut rest: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    for input in input.chunks(piece * unit * element) {
        values.resize(input.len() / element, 0.0);
        float_type::decode(job.source.float, input, values);
        if let Some(update) = &job.source.update {
            let factors = factors.insert(update.factors()?);
            factors.add(first as usize * unit, values);
            require_finite(values, job, update)?;
        }
        let units = values.len() / unit;
        let mut parts: Vec<&mut [u8]> = rest
            .iter_mut()
            .zip(&job.outputs)
            .filter_map(|(rest, output)| rest.split_off_mut(..units * output.unit_bytes as usize))
            .collect();
        match factor {
            Some(factor) => gptq::encode(job.encoding, factor, values, unit, &mut parts),
            None => found.add(
                job.encoding
                    .encode(values, unit, &mut parts, rules.overflow),
            ),
        }
    }
    Ok(found)
}

/// Values that are each finite can add up to more than a float holds.
fn require_finite(values: &[f32], job: &Job, update: &LowRank) -> Result<()> {
    let finite = values
        .iter()
        .fold(true, |all, value| all & value.is_finite());
    match finite {
        true => Ok(()),
        false => Err(Error::Tensor {
            tensor: job.source.tensor.clone(),
            file: update.path().display().to_string(),
            problem: "has values that are infinite or not a number after the adapter is added"
                .to_owned(),
        }),
    }
}
