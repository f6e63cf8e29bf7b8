//! How fast a pipeline could be, and what a data set would cost on it: a bound from data sheets, not a measurement.

use serde::Serialize;
use worldpm_ort_bundle::cost::Part;

use super::gpu::Gpu;

/// Shares of a GPU's peak rates that are counted on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Efficiency {
    /// Of its arithmetic. Default 0.5.
    pub compute: f64,
    /// Of its memory's bandwidth. Default 0.8.
    pub bandwidth: f64,
}

impl Default for Efficiency {
    fn default() -> Self {
        Self {
            compute: 0.5,
            bandwidth: 0.8,
        }
    }
}

/// What limits a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Arithmetic.
    Compute,
    /// Reading the weights.
    Weights,
}

/// Time that a stage takes for one pack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageTime {
    /// Seconds of arithmetic.
    pub compute: f64,
    /// Seconds to read the weights once.
    pub weights: f64,
}

impl StageTime {
    /// Of the parts of a stage on a GPU: all its work, and each weight read once. The embedding is not read, but for the
    /// rows of the pack's tokens, which are left out.
    #[must_use]
    pub fn of(parts: &[Part], read: u64, gpu: &Gpu, efficiency: Efficiency) -> Self {
        let flops: f64 = parts.iter().map(|part| part.flops as f64).sum();
        Self {
            compute: flops / (gpu.half_flops * efficiency.compute),
            weights: read as f64 / (gpu.bandwidth * efficiency.bandwidth),
        }
    }

    /// The longer of the two: they go on at the same time.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.compute.max(self.weights)
    }

    /// The longer of the two, by name.
    #[must_use]
    pub fn bound(&self) -> Bound {
        if self.compute >= self.weights {
            Bound::Compute
        } else {
            Bound::Weights
        }
    }
}

/// The rate of one pipeline, or of several side by side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Position of the slowest stage.
    pub slowest: usize,
    /// What limits it.
    pub bound: Bound,
    /// Seconds that it takes for one pack.
    pub seconds_per_pack: f64,
    /// Unique tokens a second, of all pipelines together.
    pub tokens_per_second: f64,
    /// Share of the time in which the stages of a full pipeline work: their mean over the slowest.
    pub balance: f64,
}

/// The speed of `replicas` pipelines whose stages take `times` for a pack of `tokens`; every stage works on another pack,
/// so the slowest sets the pace. `None` without stages.
#[must_use]
pub fn speed(times: &[StageTime], tokens: u64, replicas: usize) -> Option<Speed> {
    let (slowest, time) = times
        .iter()
        .enumerate()
        .max_by(|(_, a), (_, b)| a.seconds().total_cmp(&b.seconds()))?;
    let seconds = time.seconds();
    let mean = times.iter().map(StageTime::seconds).sum::<f64>() / times.len() as f64;
    Some(Speed {
        slowest,
        bound: time.bound(),
        seconds_per_pack: seconds,
        tokens_per_second: tokens as f64 * replicas as f64 / seconds,
        balance: mean / seconds,
    })
}

/// What scoring a data set takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// Unique tokens of the data set.
    pub tokens: f64,
    /// Hours from begin to end.
    pub hours: f64,
    /// Hours of all GPUs that are held.
    pub gpu_hours: f64,
    /// What that costs, when a price is given, in the price's currency.
    pub price: Option<f64>,
}

/// The bill for a data set of `tokens` at `speed` on `gpus` GPUs, each `per_hour`.
#[must_use]
pub fn bill(tokens: f64, speed: &Speed, gpus: usize, per_hour: Option<f64>) -> Bill {
    let hours = tokens / speed.tokens_per_second / 3600.0;
    let gpu_hours = hours * gpus as f64;
    Bill {
        tokens,
        hours,
        gpu_hours,
        price: per_hour.map(|price| price * gpu_hours),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// 100 teraflops, and a terabyte a second.
    const GPU: Gpu = Gpu {
        name: "simple",
        memory: 80_000_000_000,
        bandwidth: 1e12,
        half_flops: 100e12,
        int8_ops: 200e12,
        source: "made up",
        note: None,
    };

    fn time(flops: u64, bytes: u64) -> StageTime {
        let part = Part {
            flops,
            ..Part::default()
        };
        StageTime::of(&[part, part], bytes, &GPU, Efficiency::default())
    }

    #[test]
    fn a_stage_takes_the_longer_of_two_times() {
        // 2 × 10 teraflops at half of 100; 40 GB at 80% of 1 TB/s.
        let long = time(10_000_000_000_000, 40_000_000_000);
        assert_eq!((long.compute, long.weights), (0.4, 0.05));
        assert_eq!((long.seconds(), long.bound()), (0.4, Bound::Compute));
        let short = time(1_000_000_000_000, 40_000_000_000);
        assert_eq!((short.compute, short.weights), (0.04, 0.05));
        assert_eq!((short.seconds(), short.bound()), (0.05, Bound::Weights));
    }

    #[test]
    fn the_slowest_stage_sets_the_pace() {
        let times = [
            time(10_000_000_000_000, 0),
            time(20_000_000_000_000, 0),
            time(15_000_000_000_000, 0),
        ];
        let found = speed(&times, 2000, 2).unwrap();
        assert_eq!(found.slowest, 1);
        assert_eq!(found.seconds_per_pack, 0.8);
        assert_eq!(found.tokens_per_second, 2.0 * 2000.0 / 0.8);
        assert!((found.balance - 0.75).abs() < 1e-12);
        assert_eq!(speed(&[], 2000, 1), None);
    }

    #[test]
    fn a_bill_counts_every_gpu() {
        // 5000 tokens a second on 6 GPUs: 9e8 tokens take 50 hours.
        let found = speed(&[time(10_000_000_000_000, 0)], 2000, 1).unwrap();
        assert_eq!(found.tokens_per_second, 5000.0);
        let found = bill(9e8, &found, 6, Some(2.5));
        assert_eq!((found.hours, found.gpu_hours), (50.0, 300.0));
        assert_eq!(found.price, Some(750.0));
        let speed = speed(&[time(10_000_000_000_000, 0)], 2000, 1).unwrap();
        assert_eq!(bill(1.0, &speed, 1, None).price, None);
    }
}
