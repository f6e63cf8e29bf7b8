//! The options of every command that scores.

use std::{num::NonZeroUsize, path::PathBuf};

use crate::MatmulPrecision as Precision;
use clap::ValueEnum;
use worldpm_ort_bundle::Bytes;

use super::heading;
use crate::{
    Residency, Scorer, ScorerOptions,
    batch::Budget,
    ep::{Devices, ProviderOption, ProviderOptions},
};

/// How a model is loaded and run.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::DEVICES)]
pub(crate) struct ScorerArgs {
    /// cpu, cuda:N, tensorrt:N or plugin:PROVIDER:N (with commas for several), or auto (what the bundle was exported for).
    /// cpu,cpu divides the cores between two devices that compute at the same time, by the work of their stages
    #[arg(long, value_name = "DEVICES", default_value = "auto")]
    pub(crate) device: Devices,
    /// An option of the devices' provider, by ONNX Runtime's name for it, such as gpu_mem_limit=30000000000; may be
    /// repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) ep_option: Vec<ProviderOption>,
    /// Library of the provider that --device plugin:PROVIDER names
    #[arg(long, value_name = "FILE")]
    pub(crate) ep_library: Option<PathBuf>,
    /// Threads for CPU work [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// How exactly CPUs with AMX or AVX-512 BF16 multiply floats, as in PyTorch: highest (as floats), high (as two bfloat16
    /// numbers) or medium (rounded to one, as always with w8a8, and without AMX with int8 and int4, too)
    #[arg(long, help_heading = heading::PRECISION, value_name = "PRECISION", default_value_t)]
    pub(crate) float32_matmul_precision: Precision,
    /// What computes on such CPUs: auto (our own kernels for products and attention) or onnxruntime
    #[arg(long, help_heading = heading::PRECISION, value_name = "WHOSE", value_enum, default_value_t)]
    pub(crate) cpu_kernels: CpuKernels,
    /// Keep each thread for CPU work on a processor of its own
    #[arg(long)]
    pub(crate) pin_threads: bool,
    /// Copies of the model, each on its part of the devices, that take conversations from one line [default: one; on GPUs
    /// that auto finds, as many as fit]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) replicas: Option<NonZeroUsize>,
    /// How much of the model is in memory: resident (all), streamed (one stage at a time, for models larger than
    /// memory) or auto (all where memory holds it)
    #[arg(long, help_heading = heading::MEMORY, value_name = "WAY", value_enum, default_value_t)]
    pub(crate) residency: ResidencyWay,
    /// Memory that scoring may take, as in 8GiB: of the host on the CPU, else of each GPU. Too little is an error that says
    /// what would do [default: what is free]
    #[arg(long, help_heading = heading::MEMORY, value_name = "SIZE")]
    pub(crate) memory: Option<Bytes>,
    /// Most unique tokens in one run of the model, with eight times as many attention cells (16384 at least). With 2048,
    /// about ten pairs of 300 tokens whose halves share 100 go together
    #[arg(long, help_heading = heading::MEMORY, value_name = "TOKENS", value_parser = at_least_one)]
    pub(crate) max_batch_tokens: Option<NonZeroUsize>,
    /// ONNX Runtime's library [default: looked for beside the program and in the usual places]
    #[arg(long, value_name = "FILE")]
    pub(crate) ort_lib: Option<PathBuf>,
    /// Folder of the weights, when the checkpoint has moved since the export
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(crate) weights_dir: Option<PathBuf>,
}

/// A number of things of which there must be one.
pub(crate) fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .map_err(|_| "give a whole number, 1 or more, or leave the option out".to_owned())
}

impl ScorerArgs {
    /// Says what was asked for and cannot be had: products of another precision than is computed, and integers whose
    /// scores are as near to those of fp32 as can be.
    pub(crate) fn report_unused(&self, scorer: &Scorer) {
        let (asked, used) = (self.float32_matmul_precision, scorer.matmul_precision());
        let has_8_bits = scorer.manifest().precision == worldpm_ort_bundle::Precision::W8a8;
        if has_8_bits && used == Precision::Highest {
            report!(
                "note: ONNX Runtime's kernels make integers of w8a8's activations, with one step for each token, which moves \
                 the scores of trained models 3 to 10 times as far as bf16 does. Our own, which move them about as far, \
                 take an x86-64 CPU with AMX or AVX-512 BF16 (see `worldpm-ort doctor`) and --cpu-kernels auto"
            );
        } else if has_8_bits && asked == Precision::High {
            report!(
                "note: activations have 8 bits, not {asked} precision: that is what w8a8 means"
            );
        } else if asked == Precision::High && used == Precision::Medium {
            report!(
                "note: products of this CPU are in {used} precision and not {asked}, which takes one with AMX"
            );
        } else if !has_8_bits && asked != Precision::Highest && asked != used {
            report!(
                "note: products are computed as exactly as floats, not in {asked} precision: that takes a model on an x86-64 \
                 CPU with AMX or AVX-512 BF16 (see `worldpm-ort doctor`), weights of bf16, fp16, int8 or int4, and \
                 --cpu-kernels auto"
            );
        }
    }

    pub(crate) fn options(&self) -> ScorerOptions {
        let mut options = ScorerOptions::default().with_devices(self.device.clone());
        options.threads = self.threads;
        options.pin_threads = self.pin_threads;
        options.matmul_precision = self.float32_matmul_precision;
        options.kernels = matches!(self.cpu_kernels, CpuKernels::Auto);
        options.replicas = self.replicas;
        options.residency = self.residency.into();
        options.memory = self.memory.map(|Bytes(bytes)| bytes);
        options.ort_library.clone_from(&self.ort_lib);
        options.weights_dir.clone_from(&self.weights_dir);
        let mut providers = ProviderOptions::default();
        providers.options.clone_from(&self.ep_option);
        providers.library.clone_from(&self.ep_library);
        options.providers = providers;
        if let Some(tokens) = self.max_batch_tokens {
            options.budget = Budget::for_tokens(tokens.get());
        }
        options
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum CpuKernels {
    #[default]
    Auto,
    Onnxruntime,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum ResidencyWay {
    #[default]
    Auto,
    Resident,
    Streamed,
}

impl From<ResidencyWay> for Residency {
    fn from(way: ResidencyWay) -> Self {
        match way {
            ResidencyWay::Auto => Self::Auto,
            ResidencyWay::Resident => Self::Resident,
            ResidencyWay::Streamed => Self::Streamed,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        scorer: ScorerArgs,
    }

    #[test]
    fn cells_follow_the_tokens() {
        let budget = |flags: &[&str]| {
            let args = [&["command"], flags].concat();
            Command::try_parse_from(args)
                .unwrap()
                .scorer
                .options()
                .budget
        };
        assert_eq!(budget(&[]), Budget::default());
        for (tokens, cells) in [("100", 16384), ("2048", 16384), ("32768", 262_144)] {
            let budget = budget(&["--max-batch-tokens", tokens]);
            assert_eq!(budget.max_tokens.to_string(), tokens);
            assert_eq!(budget.max_cells, cells, "{tokens}");
        }
    }
}
