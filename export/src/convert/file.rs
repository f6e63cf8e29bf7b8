//! A new weight file: where each tensor goes, and its header.

use serde_json::{Map, Value, json};
use worldpm_ort_bundle::{
    graph::ExternalData,
    safetensors::{
        Dtype,
        header::{LENGTH_BYTES, TensorEntry},
    },
};

use super::job::{Encoding, Job, Made, Output, Source};

/// Tensors begin at multiples of this, so that they can be mapped into memory and read without the page cache.
const ALIGNMENT: u64 = 4096;

/// A tensor that was given a place.
#[derive(Clone, Debug)]
pub(crate) struct Allocated {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    /// Where its bytes will be. The offset counts from where the tensors begin: see [`StageFile::data_start`].
    pub(crate) data: ExternalData,
}

/// The weight file of a stage, in the safetensors format.
///
/// Offsets are known as soon as a tensor is allocated, counted from the end of the header, whose length depends
/// on all of them.
#[derive(Debug)]
pub(crate) struct StageFile {
    name: String,
    tensors: Vec<Allocated>,
    jobs: Vec<Job>,
    /// End of the last tensor.
    end: u64,
}

impl StageFile {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            tensors: Vec::new(),
            jobs: Vec::new(),
            end: 0,
        }
    }

    /// Its name in the bundle.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What fills it.
    pub(crate) fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// Gives the outputs of `encoding` their places, in its order.
    pub(crate) fn allocate(&mut self, source: Source, encoding: Encoding) -> Vec<Allocated> {
        let mut outputs = Vec::new();
        let mut allocated = Vec::new();
        for made in encoding.outputs(&source) {
            let tensor = self.place(&source.tensor, made.clone());
            outputs.push(Output {
                offset: tensor.data.offset,
                unit_bytes: made.unit_bytes,
            });
            self.tensors.push(tensor.clone());
            allocated.push(tensor);
        }
        self.jobs.push(Job {
            source,
            encoding,
            outputs,
        });
        allocated
    }

    /// The file called `name` for those tensors of the checkpoint that `is_wanted`, with new places.
    pub(crate) fn part(&self, name: String, is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut part = Self::new(name);
        for job in self.jobs.iter().filter(|job| is_wanted(&job.source.tensor)) {
            part.allocate(job.source.clone(), job.encoding);
        }
        part
    }

    /// Its tensors, in their order.
    pub(crate) fn tensors(&self) -> &[Allocated] {
        &self.tensors
    }

    fn place(&mut self, source: &str, made: Made) -> Allocated {
        let offset = self.end.next_multiple_of(ALIGNMENT);
        let length = made.shape.iter().product::<u64>() * made.dtype.bits() / 8;
        self.end = offset + length;
        Allocated {
            name: format!("{source}{}", made.suffix),
            dtype: made.dtype,
            shape: made.shape,
            data: ExternalData {
                location: self.name.clone(),
                offset,
                length,
            },
        }
    }

    /// Length of the header and the header. Its end is the beginning of the tensors.
    ///
    /// The format allows no gaps, so tensors called `padding.N` fill them.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut header = Map::new();
        header.insert(
            "__metadata__".to_owned(),
            json!({"producer": concat!("worldpm-ort ", env!("CARGO_PKG_VERSION"))}),
        );
        let mut entry = |name: String, dtype: Dtype, shape: Vec<u64>, begin: u64, end: u64| {
            let entry = TensorEntry {
                dtype,
                shape,
                data_offsets: (begin, end),
            };
            header.insert(name, json!(entry));
        };
        let mut end = 0;
        for (number, tensor) in self.tensors.iter().enumerate() {
            let begin = tensor.data.offset;
            if begin > end {
                let gap = vec![begin - end];
                entry(format!("padding.{number}"), Dtype::U8, gap, end, begin);
            }
            end = begin + tensor.data.length;
            entry(
                tensor.name.clone(),
                tensor.dtype,
                tensor.shape.clone(),
                begin,
                end,
            );
        }
        let mut json = Value::Object(header).to_string().into_bytes();
        let length = (LENGTH_BYTES + json.len() as u64).next_multiple_of(ALIGNMENT) - LENGTH_BYTES;
        json.resize(length as usize, b' ');
        [&length.to_le_bytes()[..], &json].concat()
    }

    /// Bytes of the tensors, with the gaps between them.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.end
    }
}
