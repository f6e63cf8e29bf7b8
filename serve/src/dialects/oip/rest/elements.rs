//! `data` in JSON: a list of elements, or lists within lists as the shape has them.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor},
};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ArrayBuilder, empty},
    },
};

use super::super::tensor::{Data, Datatype, Declared, Tensor};
use crate::http::Problem;

/// Elements in one line, and how they were nested.
#[derive(Debug, Default)]
pub(super) struct Elements {
    /// How long the lists of each depth are, which are of one length.
    lengths: Vec<Option<usize>>,
    /// How many lists the elements are in.
    depth: Option<usize>,
    all: All,
}

#[derive(Debug, Default)]
enum All {
    #[default]
    None,
    Integers(Vec<i64>),
    Bools(Vec<i64>),
    Texts(Vec<Bytes>),
}

impl Elements {
    /// A tensor of these elements.
    ///
    /// # Errors
    /// When they are not what is declared.
    pub(super) fn tensor(self, declared: Declared) -> Result<Tensor, Problem> {
        let nested: Vec<usize> = self.lengths.into_iter().flatten().collect();
        if nested.len() > 1 && !declared.has_shape(&nested) {
            return Err(declared.wrong(&format!(
                "its data is nested as {nested:?}, which is not its shape"
            )));
        }
        let data = match (declared.datatype, self.all) {
            (Datatype::Fp32, _) => return Err(declared.not_an_input()),
            (Datatype::Bytes, All::None) => Data::Texts(Vec::new()),
            (Datatype::Bytes, All::Texts(texts)) => Data::Texts(texts),
            (Datatype::Bool | Datatype::Int32 | Datatype::Int64, All::None) => {
                Data::Integers(Vec::new())
            }
            (Datatype::Bool, All::Bools(all)) => Data::Integers(all),
            (Datatype::Int32 | Datatype::Int64, All::Integers(all)) => Data::Integers(all),
            (datatype, _) => {
                let is = match datatype {
                    Datatype::Bytes => "texts",
                    Datatype::Bool => "true and false",
                    _ => "whole numbers",
                };
                return Err(declared.wrong(&format!("its data must be {is}")));
            }
        };
        declared.with(data)
    }
}

impl ToSchema for Elements {}

impl PartialSchema for Elements {
    fn schema() -> RefOr<Schema> {
        let about =
            "Texts, whole numbers, or true and false, in one list or nested as the shape has them.";
        let schema = ArrayBuilder::new().items(RefOr::from(empty()));
        schema.description(Some(about)).into()
    }
}

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut elements = Self::default();
        deserializer.deserialize_seq(Level {
            depth: 0,
            elements: &mut elements,
        })?;
        Ok(elements)
    }
}

/// What is within as many lists: a list, or an element.
struct Level<'a> {
    depth: usize,
    elements: &'a mut Elements,
}

impl Level<'_> {
    fn push<E: Error, T>(
        self,
        value: T,
        into: fn(&mut All) -> Option<&mut Vec<T>>,
    ) -> Result<(), E> {
        let depth = *self.elements.depth.get_or_insert(self.depth);
        match into(&mut self.elements.all) {
            Some(all) if depth == self.depth => all.push(value),
            Some(_) => return Err(E::custom("elements and lists stand side by side")),
            None => return Err(E::custom("the elements are of several kinds")),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("texts, whole numbers, or true and false, in lists")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.push(i64::from(value), All::bools)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.push(value, All::integers)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let value = i64::try_from(value).map_err(|_| E::custom(format!("{value} is too large")))?;
        self.push(value, All::integers)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.push(Bytes::copy_from_slice(value.as_bytes()), All::texts)
    }

    fn visit_string<E: Error>(self, value: String) -> Result<(), E> {
        self.push(value.into(), All::texts)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { depth, elements } = self;
        let mut length = 0;
        loop {
            let element = Level {
                depth: depth + 1,
                elements: &mut *elements,
            };
            if list.next_element_seed(element)?.is_none() {
                break;
            }
            length += 1;
        }
        if elements.lengths.len() <= depth {
            elements.lengths.resize(depth + 1, None);
        }
        match *elements.lengths[depth].get_or_insert(length) {
            same if same == length => Ok(()),
            other => Err(A::Error::custom(format!(
                "lists of {other} and of {length} stand side by side"
            ))),
        }
    }
}

impl All {
    fn integers(&mut self) -> Option<&mut Vec<i64>> {
        if let Self::None = self {
            *self = Self::Integers(Vec::new());
        }
        match self {
            Self::Integers(all) => Some(all),
            _ => None,
        }
    }

    fn bools(&mut self) -> Option<&mut Vec<i64>> {
        if let Self::None = self {
            *self = Self::Bools(Vec::new());
        }
        match self {
            Self::Bools(all) => Some(all),
            _ => None,
        }
    }

    fn texts(&mut self) -> Option<&mut Vec<Bytes>> {
        if let Self::None = self {
            *self = Self::Texts(Vec::new());
        }
        match self {
            Self::Texts(all) => Some(all),
            _ => None,
        }
    }
}
