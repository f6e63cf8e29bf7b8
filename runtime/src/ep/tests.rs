//! Providers on a machine that has none but the CPU, and what would be passed to ONNX Runtime elsewhere.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ort::session::{Session, builder::SessionBuilder};
use serde_json::Value;
use worldpm_ort_bundle::{Device, Manifest, Target, WeightsMode};
use worldpm_ort_export::{
    Checkpoint, ExportOptions, export,
    synth::{ModelShape, Preset, SynthOptions, synth},
};

use super::*;
use crate::{batch::Budget, engine::OnnxRuntime};

/// A small checkpoint, and bundles of it.
pub(super) struct Model {
    folder: tempfile::TempDir,
}

impl Model {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shape = ModelShape {
            hidden_size: 64,
            intermediate_size: 96,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            ..Preset::Tiny.shape()
        };
        let options = SynthOptions {
            sparse: true,
            ..SynthOptions::new(shape)
        };
        synth(&folder.path().join("checkpoint"), &options).unwrap();
        Self { folder }
    }

    fn bundle(&self, name: &str, options: &ExportOptions) -> Bundle {
        let checkpoint = Checkpoint::open(&self.folder.path().join("checkpoint")).unwrap();
        let path = self.folder.path().join(name);
        let manifest = export(&checkpoint, &path, options).unwrap();
        let graph = path.join(&manifest.stages[0].graph);
        let weights = match &manifest.weights.directory {
            Some(folder) => folder.into(),
            None => path.clone(),
        };
        Bundle {
            path,
            manifest,
            graph,
            weights,
            runtime: OnnxRuntime::load(None, None).unwrap(),
        }
    }

    /// A bundle that TensorRT can be given.
    pub(super) fn for_tensorrt(&self, name: &str, checksum: bool) -> Bundle {
        self.bundle(
            name,
            &ExportOptions {
                device: Device::Cuda,
                target: Target::Onnx,
                weights: WeightsMode::Copy,
                checksum,
                ..ExportOptions::default()
            },
        )
    }
}

pub(super) struct Bundle {
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    graph: PathBuf,
    weights: PathBuf,
    runtime: OnnxRuntime,
}

impl Bundle {
    pub(super) fn context(&self) -> StageContext<'_> {
        StageContext {
            stage: &self.manifest.stages[0],
            manifest: &self.manifest,
            bundle: &self.path,
            graph: &self.graph,
            weights: &self.weights,
            budget: Budget::default(),
            max_length: 1024,
            environment: self.runtime.environment(),
            library: self.runtime.path(),
            library_version: self.runtime.version(),
        }
    }

    fn builder(&self) -> SessionBuilder {
        Session::builder(self.runtime.environment())
            .and_then(|builder| {
                Ok(builder.with_config_entry(
                    "session.model_external_initializers_file_folder_path",
                    self.weights.to_str().unwrap(),
                )?)
            })
            .unwrap()
    }

    fn load(&self, provider: &Provider) -> Result<Session, ProviderError> {
        let context = self.context();
        let builder = self.builder();
        let builder = provider.configure(builder, &context)?;
        provider.commit(builder, &context, &fs::read(&self.graph).unwrap())
    }

    fn refusal(&self, device: &str) -> String {
        match self.load(&device.parse().unwrap()) {
            Ok(_) => panic!("{device} cannot be here"),
            Err(error) => error.to_string(),
        }
    }
}

fn cuda() -> ExportOptions {
    ExportOptions {
        device: Device::Cuda,
        ..ExportOptions::default()
    }
}

#[test]
fn a_library_without_the_provider_says_so() {
    let model = Model::new();
    let bundle = model.bundle("cuda", &cuda());
    for device in ["cuda:0", "cuda:5"] {
        let error = bundle.refusal(device);
        for says in [
            device,
            "built without CUDA",
            "fetch-onnxruntime.py --gpu",
            bundle.runtime.version(),
        ] {
            assert!(error.contains(says), "{error}");
        }
    }
    let caches = tempfile::tempdir().unwrap();
    let tensorrt = tensorrt_in(caches.path());
    let error = model.for_tensorrt("tensorrt", false).load(&tensorrt);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("built without TensorRT"), "{error}");
}

#[test]
fn tensorrt_refuses_bundles_that_it_cannot_parse() {
    let model = Model::new();
    let flags = "--device cuda --target onnx --weights hardlink (or copy)";
    let reference = ExportOptions {
        target: Target::Onnx,
        ..cuda()
    };
    for (name, options, says) in [
        ("operators", cuda(), "own operators"),
        ("reference", reference, "in another folder"),
    ] {
        let error = model.bundle(name, &options).refusal("tensorrt:0");
        assert!(error.contains(says) && error.contains(flags), "{error}");
    }
    let mut moved = model.for_tensorrt("moved", false);
    moved.weights = model.folder.path().join("checkpoint");
    let error = moved.refusal("tensorrt:0");
    assert!(error.contains("taken from"), "{error}");
}

#[test]
fn a_plug_in_provider_that_is_not_there_is_named() {
    let model = Model::new();
    let bundle = model.bundle("cuda", &cuda());
    let error = bundle.refusal("plugin:SomeExecutionProvider:0");
    for says in [
        "SomeExecutionProvider",
        "CPUExecutionProvider",
        "--ep-library",
    ] {
        assert!(error.contains(says), "{error}");
    }
    let error = bundle.refusal("plugin:CPUExecutionProvider:9");
    assert!(error.contains("1 devices here"), "{error}");

    let not_one = bundle.graph.clone();
    let mut options = PluginOptions::new("SomeExecutionProvider", 0).unwrap();
    for library in [not_one, "/nowhere/provider.so".into()] {
        options.library = Some(library.clone());
        let error = bundle.load(&Provider::Plugin(options.clone()));
        let error = error.err().unwrap().to_string();
        for says in [library.to_str().unwrap(), "made for this version"] {
            assert!(error.contains(says), "{error}");
        }
    }
}

/// ONNX Runtime treats its own CPU provider as one more provider with devices, so the way of plug-in providers can be
/// gone to its end here, up to the refusal to run on the CPU.
#[test]
fn nodes_on_the_cpu_are_an_error() {
    let model = Model::new();
    let bundle = model.bundle("cpu", &ExportOptions::default());
    let error = bundle.refusal("plugin:CPUExecutionProvider:0");
    assert!(error.contains("fallback"), "{error}");
}

#[test]
fn nodes_that_a_provider_does_not_take_are_named() {
    let model = Model::new();
    let bundle = model.bundle("cpu", &ExportOptions::default());
    // A session without any provider but the CPU's, which may not be used.
    let builder = bundle
        .builder()
        .with_disable_cpu_fallback()
        .unwrap()
        .with_config_entry("session.record_ep_graph_assignment_info", "1")
        .unwrap();
    let provider: Provider = "plugin:Some:0".parse().unwrap();
    let graph = fs::read(&bundle.graph).unwrap();
    let error = provider.commit(builder, &bundle.context(), &graph);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("no node may run on the CPU"), "{error}");
    if bundle.runtime.require("1.24").is_ok() {
        assert!(error.contains(": Gather embed_tokens, "), "{error}");
        assert!(error.contains(" others)"), "{error}");
    }
}

#[test]
fn the_assignment_of_nodes_is_read() {
    let model = Model::new();
    let bundle = model.bundle("cpu", &ExportOptions::default());
    assert!(bundle.load(&Provider::Cpu).is_ok());
    let session = |record: &str| {
        bundle
            .builder()
            .with_config_entry("session.record_ep_graph_assignment_info", record)
            .unwrap()
            .commit_from_file(&bundle.graph)
            .unwrap()
    };
    let library = bundle.runtime.path();
    assert_eq!(NodeAssignment::of(&session("0"), library), None);
    let assignment = NodeAssignment::of(&session("1"), library);
    if bundle.runtime.require("1.24").is_err() {
        assert_eq!(assignment, None, "older libraries do not report it");
        return;
    }
    let assignment = assignment.unwrap();
    let providers: Vec<&String> = assignment.nodes.keys().collect();
    assert_eq!(providers, ["CPUExecutionProvider"]);
    let nodes = &assignment.nodes["CPUExecutionProvider"];
    assert!(nodes.len() > 20, "{assignment}");
    assert!(nodes.contains(&"Cos rotary/cos".to_owned()), "{nodes:?}");
    assert!(
        assignment
            .to_string()
            .ends_with("nodes by CPUExecutionProvider"),
        "{assignment}"
    );
}

#[test]
fn a_placement_tells_the_largest_part_first() {
    let nodes = [("A", 3), ("B", 700)].map(|(name, count)| {
        let nodes = (0..count).map(|node| format!("Add {node}")).collect();
        (name.to_owned(), nodes)
    });
    let assignment = NodeAssignment {
        nodes: BTreeMap::from(nodes),
    };
    assert_eq!(assignment.to_string(), "700 nodes by B, 3 nodes by A");
    assert_eq!(assignment.on_cpu(), None);
}

#[test]
fn of_many_nodes_on_the_cpu_some_are_named() {
    let on_cpu = |count: usize| {
        let nodes = (0..count).map(|node| format!("Add {node}")).collect();
        let nodes = BTreeMap::from([("CPUExecutionProvider".to_owned(), nodes)]);
        NodeAssignment { nodes }.on_cpu()
    };
    assert_eq!(on_cpu(0), None);
    assert_eq!(on_cpu(2).unwrap(), "Add 0, Add 1");
    let six = "Add 0, Add 1, Add 2, Add 3, Add 4, Add 5";
    assert_eq!(on_cpu(6).unwrap(), six);
    assert_eq!(on_cpu(50).unwrap(), format!("{six} and 44 others"));
}

#[test]
fn nodes_that_tensorrt_leaves_are_named() {
    let nodes = |provider: &str, names: &[&str]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        (format!("{provider}ExecutionProvider"), names)
    };
    let of = |nodes: Vec<(String, Vec<String>)>| NodeAssignment {
        nodes: nodes.into_iter().collect(),
    };
    let all = of(vec![nodes("Tensorrt", &["Gemm a", "Relu b"])]);
    assert_eq!(all.besides_tensorrt(), None);
    let some = of(vec![
        nodes("Tensorrt", &["Gemm a"]),
        nodes("CUDA", &["Relu b"]),
        nodes("CPU", &["Shape c"]),
    ]);
    assert_eq!(some.besides_tensorrt().unwrap(), "Shape c, Relu b");
}

fn tensorrt_in(caches: &Path) -> Provider {
    let mut options = TensorRtOptions::new(0);
    options.cache = Some(caches.to_owned());
    Provider::TensorRt(Box::new(options))
}

/// The names that the provider libraries themselves hold.
fn known(field: &str) -> Vec<String> {
    let fixture = include_str!("../../../tests/fixtures/ep/option_keys.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let names = fixture[field].as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap().into()).collect()
}

fn assert_known(map: &BTreeMap<String, String>, field: &str) {
    let known = known(field);
    for key in map.keys() {
        assert!(known.contains(key), "{field} does not know `{key}`");
    }
}

#[test]
fn cuda_knows_every_option_that_it_is_told() {
    let mut options = CudaOptions::new(1);
    options.memory_limit = Some(1 << 30);
    options.reading_threads = Some(8);
    for arena in [ArenaGrowth::AsRequested, ArenaGrowth::PowersOfTwo] {
        options.arena = arena;
        let map = options.to_map();
        assert_eq!(map.len(), 6);
        assert_known(&map, "cuda");
        assert!(known("cuda_values").contains(&map["arena_extend_strategy"]));
    }
}

#[test]
fn tensorrt_knows_every_option_that_it_is_told() {
    let model = Model::new();
    let bundle = model.for_tensorrt("bundle", false);
    let mut options = TensorRtOptions::new(2);
    options.workspace_limit = Some(1 << 30);
    options.optimization_level = Some(5);
    let map = options.to_map("/caches/stage", &bundle.context()).unwrap();
    assert_known(&map, "tensorrt");
    assert_eq!(map["device_id"], "2");
    assert_eq!(map["trt_engine_cache_path"], "/caches/stage");
    for input in &bundle.manifest.stages[0].inputs {
        let shapes = &map["trt_profile_max_shapes"];
        assert!(shapes.contains(&format!("{}:", input.name)), "{shapes}");
    }
    for precision in ["trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable"] {
        assert!(!map.contains_key(precision), "{precision}");
    }

    // With a context model the engines are beside it.
    options.context_model = true;
    let map = options.to_map("/caches/stage", &bundle.context()).unwrap();
    assert_known(&map, "tensorrt");
    assert!(!map.contains_key("trt_engine_cache_path"));
    assert_eq!(map["trt_ep_context_file_path"], "/caches/stage");
}

/// An option that is read here by name must be one that a provider has.
#[test]
fn every_option_that_is_checked_or_refused_exists() {
    let source = |text: &str| -> Vec<String> {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let words = code.split('"').skip(1).step_by(2);
        let is_name = |word: &&str| {
            word.contains('_')
                && !word.ends_with('_')
                && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        words.filter(is_name).map(str::to_owned).collect()
    };
    for (text, field, least) in [
        (include_str!("cuda.rs"), "cuda", 11),
        (include_str!("tensorrt/mod.rs"), "tensorrt", 18),
    ] {
        let (named, known) = (source(text), known(field));
        assert!(named.len() > least, "{field}: only {named:?}");
        for name in named {
            assert!(known.contains(&name), "{field} does not know `{name}`");
        }
    }
}

#[test]
fn tensorrt_refuses_options_that_would_change_scores_or_break_its_caches() {
    for (option, says) in [
        ("trt_bf16_enable=1", "--precision"),
        ("trt_fp16_enable=1", "--precision"),
        ("trt_cuda_graph_enable=1", "shape"),
        ("trt_profile_max_shapes=x:1", "--max-length"),
        ("trt_engine_cache_prefix=mine", "trt_engine_cache_path=DIR"),
        ("trt_min_subgraph_size=100", "whole"),
        ("trt_onnx_bytestream=140", "address"),
        ("trt_builder_optimization_level=6", "0 to 5"),
        ("user_compute_stream=140", "address"),
        ("device_id=1", "--device"),
    ] {
        let (key, value) = option.split_once('=').unwrap();
        let error = TensorRtOptions::default().set(key, value).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(key) && error.contains(says), "{error}");
    }
}
