//! A named tensor of a request. Nothing is allocated by what a shape says before the data is there.

use bytes::{Buf, Bytes};

use crate::http::Problem;

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    Bool,
    Int32,
    Int64,
    Fp32,
    Bytes,
}

/// What a request says of a tensor, before its data.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    shape: Vec<usize>,
    /// What the shape says.
    elements: usize,
}

/// A tensor with as many elements as its shape says.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

/// The elements of a tensor, row by row.
#[derive(Debug)]
pub(super) enum Data {
    /// Of BOOL (0 and 1), INT32 and INT64.
    Integers(Vec<i64>),
    Texts(Vec<Bytes>),
}

impl Datatype {
    const ALL: [Self; 5] = [
        Self::Bool,
        Self::Int32,
        Self::Int64,
        Self::Fp32,
        Self::Bytes,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp32 => "FP32",
            Self::Bytes => "BYTES",
        }
    }

    /// Its name in Triton's configurations of models, and its number there.
    pub(super) fn triton(self) -> (&'static str, i32) {
        match self {
            Self::Bool => ("TYPE_BOOL", 1),
            Self::Int32 => ("TYPE_INT32", 8),
            Self::Int64 => ("TYPE_INT64", 9),
            Self::Fp32 => ("TYPE_FP32", 11),
            Self::Bytes => ("TYPE_STRING", 13),
        }
    }
}

impl Declared {
    /// # Errors
    /// A datatype that no tensor here has, and a shape of more elements than can be counted.
    pub(super) fn new(name: String, datatype: &str, shape: Vec<usize>) -> Result<Self, Problem> {
        let Some(known) = Datatype::ALL
            .into_iter()
            .find(|known| known.name() == datatype)
        else {
            return Err(Problem::invalid(format!(
                "input {name:?}: there is no input of datatype {datatype:?}"
            )));
        };
        let counted = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        let Some(elements) = counted else {
            return Err(Problem::invalid(format!(
                "input {name:?}: the shape {shape:?} has more elements than can be counted"
            )));
        };
        Ok(Self {
            name,
            datatype: known,
            shape,
            elements,
        })
    }

    /// With elements that were read otherwise.
    ///
    /// # Errors
    /// When there are more or fewer than the shape says.
    pub(super) fn with(self, data: Data) -> Result<Tensor, Problem> {
        let found = match &data {
            Data::Integers(all) => all.len(),
            Data::Texts(all) => all.len(),
        };
        if found != self.elements {
            return Err(self.wrong(&format!(
                "it has {found} elements, and its shape {:?} says {}",
                self.shape, self.elements
            )));
        }
        Ok(Tensor {
            name: self.name,
            datatype: self.datatype,
            shape: self.shape,
            data,
        })
    }

    /// With elements as the binary extension has them: little-endian, and each text after its length in four bytes.
    ///
    /// # Errors
    /// When the bytes are not those of the elements that the shape says.
    pub(super) fn with_raw(self, raw: Bytes) -> Result<Tensor, Problem> {
        let data = match self.datatype {
            Datatype::Bytes => Data::Texts(self.texts(raw)?),
            Datatype::Bool => {
                let raw = self.fixed::<1>(&raw)?;
                Data::Integers(raw.map(|[byte]| i64::from(byte)).collect())
            }
            Datatype::Int32 => {
                let raw = self.fixed::<4>(&raw)?;
                Data::Integers(raw.map(|raw| i32::from_le_bytes(raw).into()).collect())
            }
            Datatype::Int64 => {
                let raw = self.fixed::<8>(&raw)?;
                Data::Integers(raw.map(i64::from_le_bytes).collect())
            }
            Datatype::Fp32 => return Err(self.not_an_input()),
        };
        self.with(data)
    }

    pub(super) fn has_shape(&self, shape: &[usize]) -> bool {
        self.shape == shape
    }

    pub(super) fn not_an_input(&self) -> Problem {
        self.wrong("there is no input of datatype FP32")
    }

    pub(super) fn wrong(&self, what: &str) -> Problem {
        Problem::invalid(format!("input {:?}: {what}", self.name))
    }

    fn fixed<'a, const N: usize>(
        &self,
        raw: &'a [u8],
    ) -> Result<impl Iterator<Item = [u8; N]> + use<'a, N>, Problem> {
        let (all, rest) = raw.as_chunks::<N>();
        if !rest.is_empty() || all.len() != self.elements {
            return Err(self.wrong(&format!(
                "it has {} bytes of data, and its shape {:?} says {} elements of {N} bytes each",
                raw.len(),
                self.shape,
                self.elements
            )));
        }
        Ok(all.iter().copied())
    }

    fn texts(&self, mut raw: Bytes) -> Result<Vec<Bytes>, Problem> {
        let mut texts = Vec::new();
        while raw.has_remaining() {
            let length = raw.try_get_u32_le().ok();
            let length = length.and_then(|length| usize::try_from(length).ok());
            match length {
                Some(length) if length <= raw.remaining() && texts.len() < self.elements => {
                    texts.push(raw.split_to(length));
                }
                Some(_) if texts.len() == self.elements => {
                    return Err(self.wrong(&format!(
                        "its data has more than the {} elements of its shape",
                        self.elements
                    )));
                }
                _ => {
                    return Err(self.wrong(&format!(
                        "the data ends within element {}: each is its length in four bytes, and then its bytes",
                        texts.len()
                    )));
                }
            }
        }
        Ok(texts)
    }
}
