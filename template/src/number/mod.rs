//! Python's numbers: by themselves, and as values.

mod plain;
mod value;

pub(crate) use plain::{
    Big, MAX_DIGITS, big_repr, exact_big, exact_i64, float_repr, parse_float, parse_int,
    too_many_digits, true_divide,
};
pub(crate) use value::{Number, clamped_index, float_to_int, index, machine_index, not_an_integer};
