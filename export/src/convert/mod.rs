//! Streams tensors of a checkpoint into new weight files, changed on the way.
//!
//! Building a graph only allocates: [`StageFile`] knows the size of every tensor beforehand, gives it a
//! place and remembers the [`Job`] that will fill it. [`run`] does the jobs of all files on all cores, a few
//! megabytes at a time: read a chunk of rows, decode it to 32-bit floats, encode it, write it where it
//! belongs. So memory does not grow with the model, and the bytes do not depend on the number of threads.
//!
//! Whatever changes values between reading and writing belongs between decoding and encoding.

mod blocks;
mod encode;
mod file;
mod gptq;
#[cfg(test)]
mod gptq_tests;
mod grid;
mod job;
mod low_rank;
#[cfg(test)]
mod quantized_tests;
mod rules;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use blocks::{Bits, Blocks, Layout};
pub(crate) use file::{Allocated, StageFile};
pub(crate) use job::{Encoding, Source};
pub(crate) use low_rank::LowRank;
pub use rules::Progress;
pub(crate) use rules::Rules;
pub(crate) use run::{Sink, run};
