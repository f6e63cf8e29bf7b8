//! What the weights of a bundle are, decided from the checkpoint and the options.

use worldpm_ort_bundle::{
    Device, Layout, Precision, Target, WeightsMode,
    float_type::FloatType,
    manifest::{Activations, Quantization},
    proto::ElementType,
};

use crate::{
    arch::EMBED_TOKENS,
    block::{
        pattern::matches,
        weights::{Conversion, Quantized, Storage, Used},
    },
    checkpoint::Checkpoint,
    convert::{self, Bits, Blocks, StageFile},
    error::{Error, Result},
    options::ExportOptions,
};

const DEFAULT_BLOCK_SIZE: u64 = 32;
const BLOCK_SIZES: [u64; 3] = [32, 64, 128];

/// How the weights are stored and what the graphs compute in.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) precision: Precision,
    /// What the weights are converted to; `None` leaves them in the checkpoint's files.
    pub(crate) conversion: Option<Conversion>,
    /// The type that the graphs compute in.
    pub(crate) compute: ElementType,
    target: Target,
}

impl Format {
    /// # Errors
    /// [`Error::Unsupported`] for a precision that the device or the target cannot have, [`Error::Option`] for options
    /// of quantisation that do not fit the precision.
    pub(crate) fn new(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Self> {
        let stored = stored_type(checkpoint)?;
        let precision = options.precision.unwrap_or(stored.into());
        check(precision, options)?;
        // What floats are, where the precision is one of integers.
        let float = match precision {
            Precision::Bf16 => FloatType::Bf16,
            Precision::Fp16 => FloatType::F16,
            Precision::Fp32 => FloatType::F32,
            Precision::Int8 | Precision::Int4 | Precision::W8a8 => match (options.device, stored) {
                (Device::Cpu, stored) => stored,
                (Device::Cuda, FloatType::F16) => FloatType::F16,
                (Device::Cuda, FloatType::Bf16 | FloatType::F32) => FloatType::Bf16,
            },
        };
        let compute = match (options.device, float) {
            (Device::Cpu, _) => ElementType::Float,
            (Device::Cuda, FloatType::F32) => {
                return Err(Error::Unsupported {
                    what: "fp32 on CUDA".into(),
                    hint: "CUDA attention takes 16-bit types; give --precision bf16 or fp16".into(),
                });
            }
            (Device::Cuda, float) => float.element(),
        };
        let quantized = quantized(precision, float, options);
        // A server's stages have a folder each: copies are of what a stage uses, not of whole shards.
        let repacked = options.layout != Layout::Plain && options.weights == WeightsMode::Copy;
        let adapted = options.adapter.is_some();
        let converted = quantized.is_some() || float != stored || repacked || adapted;
        let conversion = converted.then(|| Conversion {
            large: float,
            small: match (&quantized, options.device) {
                (Some(_), Device::Cpu) => FloatType::F32,
                _ => float,
            },
            quantized,
            keep: options.quantization.keep.clone(),
        });
        Ok(Self {
            precision,
            conversion,
            compute,
            target: options.target,
        })
    }

    /// Where the model's weights go. The checkpoint's files are called `locations` where the graph looks for them.
    pub(crate) fn storage<'a>(&'a self, locations: &'a [String]) -> Storage<'a> {
        match &self.conversion {
            None => Storage::InPlace(locations),
            // Each stage gets a file of its own, with places of its own.
            Some(conversion) => Storage::Converted(conversion, StageFile::new(String::new())),
        }
    }

    /// What the manifest says about quantised layers.
    ///
    /// # Errors
    /// [`Error::Option`] for a pattern that matches none of the model's linear layers.
    pub(crate) fn quantization(&self, used: &Used) -> Result<Option<Quantization>> {
        let Some((conversion, quantized)) = self
            .conversion
            .as_ref()
            .and_then(|conversion| Some((conversion, conversion.quantized?)))
        else {
            return Ok(None);
        };
        for pattern in &conversion.keep {
            if !used.linear.keys().any(|module| matches(pattern, module)) {
                let example = used.linear.keys().next().map_or("", String::as_str);
                return Err(Error::Option {
                    option: "keep".into(),
                    problem: format!(
                        "`{pattern}` matches no linear layer; they have names like `{example}`"
                    ),
                });
            }
        }
        let kept = used.linear.iter().filter(|(_, quantized)| !**quantized);
        let kept = kept.map(|(module, _)| module.clone()).collect();
        Ok(Some(match quantized {
            Quantized::Channels => Quantization {
                operator: "com.microsoft.QGemm".into(),
                bits: 8,
                block_size: None,
                symmetric: true,
                activations: Activations::Int8PerToken,
                kept,
                calibration: None,
            },
            Quantized::Blocks(blocks) => Quantization {
                operator: match self.target {
                    Target::Ort => "com.microsoft.MatMulNBits".into(),
                    Target::Onnx => "DequantizeLinear".into(),
                },
                bits: blocks.bits.count(),
                block_size: Some(blocks.size),
                symmetric: blocks.symmetric,
                activations: match (self.target, self.compute) {
                    (Target::Ort, ElementType::Float) => Activations::Int8PerBlock,
                    _ => Activations::Float,
                },
                kept,
                calibration: None,
            },
        }))
    }
}

/// The type of the embedding, which stands for the checkpoint's.
fn stored_type(checkpoint: &Checkpoint) -> Result<FloatType> {
    let config = checkpoint.config();
    let shape = [config.vocab_size as u64, config.hidden_size as u64];
    let dtype = checkpoint.tensor(EMBED_TOKENS, &shape)?.dtype;
    FloatType::of(dtype).ok_or_else(|| Error::Unsupported {
        what: format!("a checkpoint of {dtype} weights"),
        hint: "weights must be BF16, F16 or F32".into(),
    })
}

fn quantized(precision: Precision, float: FloatType, options: &ExportOptions) -> Option<Quantized> {
    let bits = match precision {
        Precision::Bf16 | Precision::Fp16 | Precision::Fp32 => return None,
        Precision::W8a8 => return Some(Quantized::Channels),
        Precision::Int8 => Bits::Eight,
        Precision::Int4 => Bits::Four,
    };
    let quantization = &options.quantization;
    Some(Quantized::Blocks(Blocks {
        bits,
        size: quantization.block_size.unwrap_or(DEFAULT_BLOCK_SIZE),
        symmetric: !quantization.asymmetric,
        // Operators take scales of the type that they compute in.
        scale: match options.device {
            Device::Cpu => FloatType::F32,
            Device::Cuda => float,
        },
        layout: match options.target {
            Target::Ort => convert::Layout::Filled,
            Target::Onnx => convert::Layout::Signed,
        },
    }))
}

/// Refuses what the device, the target or the precision cannot have.
fn check(precision: Precision, options: &ExportOptions) -> Result<()> {
    let quantization = &options.quantization;
    let in_blocks = matches!(precision, Precision::Int8 | Precision::Int4);
    let refuse = |option: &str, problem: String| {
        Err(Error::Option {
            option: option.into(),
            problem,
        })
    };
    match quantization.block_size {
        Some(size) if !in_blocks => {
            return refuse(
                "block_size",
                format!("is {size}, and {precision} has no blocks"),
            );
        }
        Some(size) if !BLOCK_SIZES.contains(&size) => {
            return refuse("block_size", format!("is {size}; give 32, 64 or 128"));
        }
        _ => {}
    }
    if quantization.asymmetric && !in_blocks {
        return refuse(
            "asymmetric",
            format!("is for int8 and int4, not for {precision}"),
        );
    }
    if !quantization.keep.is_empty() && !in_blocks && precision != Precision::W8a8 {
        return refuse(
            "keep",
            format!("is for int8, int4 and w8a8, not for {precision}"),
        );
    }
    let unsupported = |what: String, hint: &str| {
        Err(Error::Unsupported {
            what,
            hint: hint.into(),
        })
    };
    if precision == Precision::W8a8 && options.layout != Layout::Plain {
        return unsupported(
            format!("w8a8 for {}", options.layout),
            "on processors without VNNI instructions it is right only with a session option that other servers do \
             not set; give --precision int8",
        );
    }
    match (precision, options.device, options.target) {
        (Precision::W8a8, Device::Cuda, _) => unsupported(
            "w8a8 on CUDA".into(),
            "its operators have no CUDA kernels; give --precision int8",
        ),
        (Precision::W8a8, Device::Cpu, Target::Onnx) => unsupported(
            "w8a8 with standard operators".into(),
            "they have no product of integers with a scale for each row; give --target ort",
        ),
        (Precision::Int8 | Precision::Int4, Device::Cuda, Target::Onnx) => unsupported(
            format!("{precision} with standard operators on CUDA"),
            "ONNX Runtime would make floats of whole weights in every run, and has no bfloat16 kernel for it; \
             give --target ort",
        ),
        (Precision::Int8 | Precision::Int4, Device::Cpu, Target::Onnx)
            if quantization.asymmetric =>
        {
            unsupported(
                format!("asymmetric {precision} with standard operators"),
                "TensorRT takes no zero points; give --target ort, or leave --asymmetric out",
            )
        }
        _ => Ok(()),
    }
}
