//! What the units have in common that multiply for attention.

use std::arch::x86_64::__m512;

use super::{
    lanes::Pair,
    task::{Block, Task},
};
use crate::x86::lines::Line;

/// What multiplies queries with keys, and weights with values.
pub(super) trait Products {
    /// How many numbers stand for a weight; 0 if it is multiplied as it is.
    const PARTS: usize;

    /// Takes the keys and values of a block.
    ///
    /// # Safety
    /// The processor has AVX-512, here and below.
    unsafe fn take(&mut self, task: &Task<'_>, block: &Block);

    /// Starts to sum a pair's values, times the weights that were put, and to score another pair. All of it is done when
    /// [`Self::finish`] returns, and some of it in each of `puts` calls of [`Self::put`] before that.
    unsafe fn start(
        &mut self,
        task: &Task<'_>,
        block: &Block,
        sum: Option<&Pair<'_>>,
        score: Option<&Pair<'_>>,
        puts: usize,
    );

    /// The products of a tile of a pair with the keys of a block, a line for each. Those of no step are anything.
    fn scores(&mut self, pair: &Pair<'_>, tile: usize) -> &mut [Line];

    /// Keeps the weights of a key, and of the 16th behind it, for a tile of a pair.
    unsafe fn put(&mut self, pair: &Pair<'_>, tile: usize, key: usize, weights: [__m512; 2]);

    fn finish(&mut self);

    /// The sums of a pair: for each of its tiles, a line for each element. A value that a lane does not see does not
    /// reach it.
    fn sums(&self) -> &[Line];
}
