//! What a calibration takes.

use std::{
    num::NonZeroUsize,
    sync::mpsc,
    time::{Duration, Instant},
};

use ndarray::Array2;

use super::factor;
use crate::{checkpoint::ModelConfig, parallel::each, products::add_product};

/// Rows and columns of the matrices whose products are timed: some hundredths of a second for each type.
const TIMED: usize = 1024;

/// What it takes to round a model's weights for some tokens.
#[derive(Clone, Debug)]
pub struct CalibrationNeeds {
    layers: u64,
    /// The inputs of a decoder layer.
    inputs: [Input; 4],
}

/// What goes into some linear layers at once.
#[derive(Clone, Copy, Debug)]
struct Input {
    width: u64,
    /// Of all of them.
    outputs: u64,
}

impl CalibrationNeeds {
    /// Those of a model of this shape.
    #[must_use]
    pub fn new(config: &ModelConfig) -> Self {
        let heads = |count: usize| (count * config.head_dim) as u64;
        let (queries, keys) = (
            heads(config.num_attention_heads),
            heads(config.num_key_value_heads),
        );
        let (hidden, intermediate) = (config.hidden_size as u64, config.intermediate_size as u64);
        let input = |width, outputs| Input { width, outputs };
        Self {
            layers: config.num_hidden_layers as u64,
            inputs: [
                input(hidden, queries + 2 * keys),
                input(queries, hidden),
                input(hidden, 2 * intermediate),
                input(intermediate, hidden),
            ],
        }
    }

    /// Bytes of memory while weights are rounded: 16 for each element of the square of the widest input.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let widest = self.inputs.iter().map(|input| input.width).max();
        factor::memory_needed(widest.unwrap_or_default())
    }

    /// Bytes on the disk: two for each number that goes into a layer, from `tokens` tokens.
    #[must_use]
    pub fn disk(&self, tokens: u64) -> u64 {
        let widths = self.inputs.iter().map(|input| input.width);
        size_of::<half::bf16>() as u64 * tokens * self.layers * widths.sum::<u64>()
    }

    /// About how long this machine rounds on so many threads, from what a product takes now. To compute the model's scores
    /// takes as long as it takes and is not in it.
    #[must_use]
    pub fn time(&self, tokens: u64, threads: NonZeroUsize) -> Duration {
        let (singles, doubles) = self.work(tokens);
        let seconds =
            singles * seconds_each::<f32>(threads) + doubles * seconds_each::<f64>(threads);
        Duration::from_secs_f64(seconds / threads.get() as f64)
    }

    /// Multiplications and additions of 32-bit and of 64-bit floats: of half of the products of inputs with themselves and
    /// of half of the errors with what is carried on, and of Cholesky factors.
    fn work(&self, tokens: u64) -> (f64, f64) {
        let (mut singles, mut doubles) = (0.0, 0.0);
        for input in &self.inputs {
            let square = (input.width * input.width) as f64;
            singles += square * (tokens + input.outputs) as f64;
            doubles += square * input.width as f64 / 3.0;
        }
        let layers = self.layers as f64;
        (singles * layers, doubles * layers)
    }
}

/// What a multiplication or an addition takes in a large product, while as many threads compute one each.
fn seconds_each<T: Copy + Default + From<u8> + Send + Sync + 'static>(
    threads: NonZeroUsize,
) -> f64 {
    let matrix = Array2::<T>::default((TIMED, TIMED));
    let (sender, times) = mpsc::channel();
    each(vec![sender; threads.get()], threads, |sender| {
        let mut sums = matrix.clone();
        let mut time = || {
            let begun = Instant::now();
            add_product(T::from(1), matrix.view(), matrix.view(), sums.view_mut());
            begun.elapsed()
        };
        // The first also finds out what the processor is.
        time();
        let _ = sender.send(time());
    });
    let longest = times.iter().max().unwrap_or_default();
    longest.as_secs_f64() / (2 * TIMED.pow(3)) as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::Checkpoint,
        synth::{Preset, SynthOptions, synth},
    };

    #[test]
    fn what_the_large_model_takes() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = SynthOptions::new(Preset::Qwen72B.shape());
        options.sparse = true;
        synth(dir.path(), &options).unwrap();
        let needs = CalibrationNeeds::new(Checkpoint::open(dir.path()).unwrap().config());
        // 80 layers with three inputs of 8192 numbers and one of 29568.
        assert_eq!(needs.disk(1), 2 * 80 * (3 * 8192 + 29568));
        assert_eq!(needs.disk(5308), 5308 * needs.disk(1));
        assert_eq!(needs.memory(), 16 * 29568 * 29568);
        let (singles, doubles) = needs.work(5308);
        assert!((1.4e15..1.6e15).contains(&singles), "{singles:e}");
        assert!((7.0e14..7.5e14).contains(&doubles), "{doubles:e}");
        assert!(!needs.time(5308, NonZeroUsize::MIN).is_zero());
    }
}
