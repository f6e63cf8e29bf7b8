//! The model repository of a Triton server: a model of its `onnxruntime` backend for each stage, and an ensemble
//! that joins them.
//!
//! `max_batch_size` is 0 everywhere: the tensors between stages have no batch dimension (`[T, hidden]`), so Triton's
//! batcher could neither merge requests nor take them apart. A request brings its own batch. What the backend takes
//! was read from its sources (`onnxruntime.cc`); it skips its own guesses at a configuration that names inputs and
//! outputs.

use sha2::{Digest, Sha256};
use worldpm_ort_bundle::{
    Device,
    hash::hex,
    manifest::{Manifest, Stage, TensorInfo},
};

use super::{
    limits::{IN_FLIGHT, Limits, smallest_shape},
    paths::{BundlePaths, ensemble_tensor},
    text_proto::TextProto,
};
use crate::error::{Error, Result};

/// Where TensorRT's engines are kept in the server's container.
pub(super) const ENGINE_CACHE: &str = "/var/cache/tensorrt";

/// The configuration of the ensemble.
pub(super) fn ensemble(places: &BundlePaths, manifest: &Manifest) -> Result<String> {
    let mut config = head(places.name(), manifest);
    config.string("platform", "ensemble");
    config.plain("max_batch_size", 0);
    let mut given: Vec<&str> = Vec::new();
    for (index, stage) in manifest.stages.iter().enumerate() {
        for input in &stage.inputs {
            let joined = ensemble_tensor(index, &input.name) != input.name;
            if !joined && !given.contains(&input.name.as_str()) {
                given.push(&input.name);
                tensor(&mut config, "input", input)?;
            }
        }
    }
    for output in manifest
        .stages
        .iter()
        .rev()
        .take(1)
        .flat_map(|s| &s.outputs)
    {
        tensor(&mut config, "output", output)?;
    }
    config.message("ensemble_scheduling", |scheduling| {
        scheduling.plain("max_inflight_requests", IN_FLIGHT);
        for (index, stage) in manifest.stages.iter().enumerate() {
            scheduling.message("step", |step| {
                step.string("model_name", &places.stage_name(index));
                step.plain("model_version", -1);
                for input in &stage.inputs {
                    let value = ensemble_tensor(index, &input.name);
                    step.entry("input_map", &input.name, &value);
                }
                for output in &stage.outputs {
                    let value = ensemble_tensor(index, &output.name);
                    step.entry("output_map", &output.name, &value);
                }
            });
        }
    });
    Ok(config.finish())
}

/// The configuration of a stage's model.
pub(super) fn stage(
    places: &BundlePaths,
    manifest: &Manifest,
    index: usize,
    limits: Limits,
    tensorrt: bool,
) -> Result<String> {
    let Some(stage) = manifest.stages.get(index) else {
        return unknown(&format!("stage {index}"));
    };
    let mut config = head(&places.stage_name(index), manifest);
    config.string("backend", "onnxruntime");
    config.plain("max_batch_size", 0);
    for input in &stage.inputs {
        tensor(&mut config, "input", input)?;
    }
    for output in &stage.outputs {
        tensor(&mut config, "output", output)?;
    }
    config.message("instance_group", |group| {
        group.plain("count", 1);
        match manifest.device {
            Device::Cpu => group.plain("kind", "KIND_CPU"),
            Device::Cuda => {
                group.plain("kind", "KIND_GPU");
                group.plain("gpus", index);
            }
        }
    });
    if manifest.device == Device::Cuda {
        let engine = tensorrt
            .then(|| tensorrt_parameters(manifest, stage, &places.stage_folder(index), limits));
        cuda(&mut config, engine.as_deref());
    }
    Ok(config.finish())
}

fn head(name: &str, manifest: &Manifest) -> TextProto {
    let mut config = TextProto::default();
    config.comment(&format!("Written by {}.", manifest.producer));
    config.string("name", name);
    config
}

/// The same choices as this project's own runtime makes: the arena grows by what is asked for, since doubling wastes
/// memory under changing shapes; flash attention is pinned, since cuDNN's keeps a plan for every shape it meets; TF32
/// is off, so that the reward head, which works in 32-bit floats, is exact.
fn cuda(config: &mut TextProto, engine: Option<&[(&str, String)]>) {
    config.message("parameters", |parameter| {
        parameter.string("key", "arena_extend_strategy");
        parameter.message("value", |value| value.string("string_value", "1"));
    });
    config.message("optimization", |optimization| {
        optimization.message("execution_accelerators", |accelerators| {
            if let Some(parameters) = engine {
                accelerators.message("gpu_execution_accelerator", |accelerator| {
                    accelerator.string("name", "tensorrt");
                    for (key, value) in parameters {
                        accelerator.entry("parameters", key, value);
                    }
                });
            }
            accelerators.message("gpu_execution_accelerator", |accelerator| {
                accelerator.string("name", "cuda");
                accelerator.entry("parameters", "sdpa_kernel", "3");
                accelerator.entry("parameters", "use_tf32", "0");
            });
        });
    });
}

/// No `precision_mode`: without one, TensorRT takes the types of the graph as they are. The key of an engine in the
/// cache knows neither weights nor folders, so the prefix does.
fn tensorrt_parameters(
    manifest: &Manifest,
    stage: &Stage,
    folder: &str,
    limits: Limits,
) -> Vec<(&'static str, String)> {
    let mut identity = Sha256::new();
    identity.update(&stage.sha256);
    for file in &manifest.weights.files {
        if file.name.starts_with(folder) {
            identity.update(&file.name);
            identity.update(file.sha256.as_deref().unwrap_or(&file.header_sha256));
        }
    }
    let identity = &hex(&identity.finalize())[..16];
    let (first, last) = stage.layers;
    let prefix = format!("layers-{first}-{last}-{identity}");
    let profile = |shape: &dyn Fn(&TensorInfo) -> Vec<u64>| {
        let shapes = stage.inputs.iter().map(|input| {
            let sizes: Vec<String> = shape(input).iter().map(ToString::to_string).collect();
            format!("{}:{}", input.name, sizes.join("x"))
        });
        shapes.collect::<Vec<_>>().join(",")
    };
    let largest = profile(&|tensor| limits.shape(tensor));
    vec![
        ("trt_engine_cache_enable", "true".into()),
        ("trt_engine_cache_path", ENGINE_CACHE.into()),
        ("trt_engine_cache_prefix", prefix),
        ("trt_timing_cache_enable", "true".into()),
        ("trt_timing_cache_path", ENGINE_CACHE.into()),
        ("trt_profile_min_shapes", profile(&smallest_shape)),
        ("trt_profile_opt_shapes", largest.clone()),
        ("trt_profile_max_shapes", largest),
    ]
}

fn tensor(config: &mut TextProto, field: &str, info: &TensorInfo) -> Result<()> {
    let data_type = match info.element.as_str() {
        "float" => "TYPE_FP32",
        "float16" => "TYPE_FP16",
        "bfloat16" => "TYPE_BF16",
        "int32" => "TYPE_INT32",
        "int64" => "TYPE_INT64",
        other => return unknown(&format!("a tensor of type {other} ({})", info.name)),
    };
    // A number is a tensor of one element to Triton, and the backend gives the graph its number.
    let mut dims: Vec<i64> = info.shape.iter().map(|d| d.parse().unwrap_or(-1)).collect();
    if dims.is_empty() {
        dims.push(1);
    }
    config.message(field, |tensor| {
        tensor.string("name", &info.name);
        tensor.plain("data_type", data_type);
        tensor.list("dims", &dims);
    });
    Ok(())
}

fn unknown<T>(what: &str) -> Result<T> {
    Err(Error::Unsupported {
        what: format!("{what} in a Triton repository"),
        hint: "this is a fault of the exporter; export with --layout plain".into(),
    })
}
