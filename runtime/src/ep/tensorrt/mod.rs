//! The TensorRT provider.

mod cache;
mod profile;

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    time::Instant,
};

use ort::{
    ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch},
    session::{Session, builder::SessionBuilder},
};

use self::cache::{Finished, Guard, StageCache};
pub(super) use self::profile::bound;
use super::{
    CudaOptions, ProviderError, StageContext,
    values::{number, switch},
};

/// What is said here of a graph of which TensorRT has not taken all.
pub(super) const NODES_ELSEWHERE: &str = "not all nodes are TensorRT's";

/// What ONNX Runtime says of an engine that is kept and cannot be used.
const BAD_ENGINE: [&str; 2] = ["could not deserialize engine", "can't find engine cache"];

/// Options of the TensorRT provider. Not yet run on a GPU.
///
/// Engines take the types of the graph as they are ("strongly typed"): there are no options of precision, since
/// `trt_fp16_enable` and `trt_bf16_enable` would give TensorRT leave to compute in other types than the bundle's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorRtOptions {
    /// The device, and the options of the CUDA provider, which runs what TensorRT does not take.
    pub cuda: CudaOptions,
    /// Folder of engine and timing caches (`trt_engine_cache_path`). Default: `worldpm-ort/tensorrt` in the user's
    /// folder of caches (`XDG_CACHE_HOME`, or `~/.cache`).
    ///
    /// Each stage gets a folder in it, named by a hash of its graph, its weights, the shapes it is built for and the
    /// version of ONNX Runtime. An engine is about as large as the stage's weights; nothing is ever removed but what a
    /// killed build left.
    pub cache: Option<PathBuf>,
    /// Most bytes that a kernel may use as workspace (`trt_max_workspace_size`). Default: the device's memory. Less
    /// leaves out faster kernels.
    pub workspace_limit: Option<u64>,
    /// How long to look for faster kernels, 0 to 5 (`trt_builder_optimization_level`). Default: TensorRT's, 3. Less
    /// builds faster, and below 3 gives slower engines.
    pub optimization_level: Option<u8>,
    /// Whether a built engine is also wrapped as an EP-context model and loaded by that the next time
    /// (`trt_dump_ep_context_model`). Default `false`. Loading then reads the engine alone, not the graph's weights too.
    /// The wrapping is written by builds only: an engine that is there already has to be removed first. It is kept
    /// by path and holds for the GPU that it was built on.
    pub context_model: bool,
    /// Options that are passed on unchecked, by ONNX Runtime's names.
    pub other: BTreeMap<String, String>,
}

impl TensorRtOptions {
    /// Defaults for the device `device_id`.
    #[must_use]
    pub fn new(device_id: u16) -> Self {
        Self {
            cuda: CudaOptions::new(device_id),
            ..Self::default()
        }
    }

    /// Sets an option by ONNX Runtime's name for it. Names that do not begin with `trt_` are CUDA's.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), ProviderError> {
        let refuse = |problem: &str| Err(ProviderError::option(key, problem));
        match key {
            "trt_engine_cache_path" => self.cache = Some(value.into()),
            "trt_max_workspace_size" => {
                self.workspace_limit = Some(number(key, value, 1, u64::MAX)?);
            }
            "trt_builder_optimization_level" => {
                self.optimization_level = u8::try_from(number(key, value, 0, 5)?).ok();
            }
            "trt_dump_ep_context_model" => self.context_model = switch(key, value)?,
            "trt_fp16_enable" | "trt_bf16_enable" | "trt_int8_enable" => {
                return refuse(
                    "engines take the types of the graph; export the checkpoint with another --precision for another",
                );
            }
            "trt_cuda_graph_enable" => {
                return refuse("a CUDA graph replays one shape, and packs differ in shape");
            }
            "trt_profile_min_shapes" | "trt_profile_opt_shapes" | "trt_profile_max_shapes" => {
                return refuse("the shapes follow from --max-batch-tokens and --max-length");
            }
            "trt_engine_cache_enable"
            | "trt_engine_cache_prefix"
            | "trt_timing_cache_enable"
            | "trt_timing_cache_path"
            | "trt_ep_context_file_path"
            | "trt_ep_context_embed_mode" => {
                return refuse(
                    "caches are kept for each stage under one folder; give trt_engine_cache_path=DIR to place it",
                );
            }
            "trt_min_subgraph_size"
            | "trt_max_partition_iterations"
            | "trt_op_types_to_exclude" => {
                return refuse("it leaves nodes to CUDA, and a stage has to be TensorRT's whole");
            }
            "trt_onnx_bytestream" | "trt_external_data_bytestream" => {
                return refuse("it is an address in memory, which cannot be given as text");
            }
            _ if key.starts_with("trt_") => {
                self.other.insert(key.to_owned(), value.to_owned());
            }
            _ => return self.cuda.set(key, value),
        }
        Ok(())
    }

    /// Refuses bundles that TensorRT's parser cannot read.
    pub(super) fn check(&self, context: &StageContext<'_>) -> Result<(), ProviderError> {
        use worldpm_ort_bundle::Target;

        let beside =
            |folder: &Path| folder.canonicalize().ok() == context.weights.canonicalize().ok();
        let problem = if context.manifest.target != Target::Onnx {
            "its graphs use ONNX Runtime's own operators, which TensorRT does not parse".to_owned()
        } else if context.manifest.weights.directory.is_some() {
            "its weights are in another folder than its graphs, and TensorRT's parser looks beside them"
                .to_owned()
        } else if !context.graph.parent().is_some_and(beside) {
            format!(
                "its weights are taken from {}, and TensorRT's parser looks beside the graphs",
                context.weights.display()
            )
        } else {
            return Ok(());
        };
        Err(ProviderError::Export {
            device: format!("tensorrt:{}", self.cuda.device_id),
            problem,
            flags: "--device cuda --target onnx --weights hardlink (or copy)",
        })
    }

    /// What is passed to ONNX Runtime for a stage whose caches are in `folder`, by its names.
    pub(super) fn to_map(
        &self,
        folder: &str,
        context: &StageContext<'_>,
    ) -> Result<BTreeMap<String, String>, ProviderError> {
        let shapes = profile::of(&context.stage.inputs, context.budget, context.max_length)?;
        let mut map = self.other.clone();
        let mut put = |key: &str, value: String| map.insert(key.to_owned(), value);
        put("device_id", self.cuda.device_id.to_string());
        put("trt_engine_cache_enable", "1".into());
        put("trt_engine_cache_prefix", cache::PREFIX.into());
        put("trt_timing_cache_enable", "1".into());
        put("trt_timing_cache_path", folder.to_owned());
        put("trt_profile_min_shapes", shapes.least);
        put("trt_profile_opt_shapes", shapes.usual);
        put("trt_profile_max_shapes", shapes.most);
        if self.context_model {
            put("trt_dump_ep_context_model", "1".into());
            put("trt_ep_context_file_path", folder.to_owned());
            // Without a path of their own, engines are beside the context model, which is where it may refer to. In a
            // file: embedded in the model they would exceed protobuf's 2 GB.
            put("trt_ep_context_embed_mode", "0".into());
        } else {
            put("trt_engine_cache_path", folder.to_owned());
        }
        if let Some(bytes) = self.workspace_limit {
            put("trt_max_workspace_size", bytes.to_string());
        }
        if let Some(level) = self.optimization_level {
            put("trt_builder_optimization_level", level.to_string());
        }
        Ok(map)
    }

    /// TensorRT, then CUDA for what TensorRT does not take.
    pub(super) fn dispatch(
        &self,
        context: &StageContext<'_>,
    ) -> Result<[ExecutionProviderDispatch; 2], ProviderError> {
        let cache = self.stage_cache(context)?;
        let tensorrt = self
            .to_map(cache.folder_name()?, context)?
            .into_iter()
            .fold(ep::TensorRT::default(), |provider, (key, value)| {
                provider.with_arbitrary_config(key, value)
            });
        Ok([tensorrt.build().error_on_failure(), self.cuda.dispatch()])
    }

    /// Loads a stage by path. TensorRT reports nothing while it builds an engine, so what it is about to do is logged before, and
    /// what it did after.
    pub(super) fn commit(
        &self,
        mut builder: SessionBuilder,
        context: &StageContext<'_>,
    ) -> Result<Session, ProviderError> {
        let cache = self.stage_cache(context)?;
        let stage = &context.stage.graph;
        let device = format!("tensorrt:{}", self.cuda.device_id);
        let folder = cache.folder().display().to_string();
        let guard = cache.lock(|| {
            tracing::info!("{stage} on {device}: waiting for another program that builds it");
        })?;
        let context_model = guard.context_model().filter(|_| self.context_model);
        if guard.has_engine() {
            tracing::info!(
                "{stage} on {device}: an engine is in {folder}; one is built if it is of another TensorRT or GPU"
            );
        } else {
            tracing::info!(
                "{stage} on {device}: building an engine into {folder}, for minutes up to an hour"
            );
        }
        let start = Instant::now();
        let session = load(
            &guard,
            context_model.as_deref(),
            context.graph,
            |graph| {
                let session = builder.commit_from_file(graph);
                session.map_err(|error| error.to_string())
            },
            |problem| {
                tracing::info!(
                    "{stage} on {device}: the engine in {folder} cannot be used ({problem}); building one, for minutes up to \
                     an hour"
                );
            },
        );
        let seconds = start.elapsed().as_secs_f64();
        let finished = guard.finish()?;
        let session = session?;
        let done = match finished {
            Finished::Built => "built",
            Finished::Loaded => "loaded",
            Finished::NoEngine => {
                let nothing = "no engine was built";
                return Err(ProviderError::Runtime(format!(
                    "{NODES_ELSEWHERE}: {nothing}"
                )));
            }
        };
        tracing::info!("{stage} on {device}: engine {done} in {seconds:.0} s");
        Ok(session)
    }

    /// Where the stage's engines are kept.
    fn stage_cache(&self, context: &StageContext<'_>) -> Result<StageCache, ProviderError> {
        let mut settings = self.to_map("", context)?;
        // The device has its kind in the engine's own name.
        settings.remove("device_id");
        StageCache::at(&self.root()?, context, &settings)
    }

    fn root(&self) -> Result<PathBuf, ProviderError> {
        if let Some(folder) = &self.cache {
            return Ok(folder.clone());
        }
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        set("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .map(|caches| caches.join("worldpm-ort").join("tensorrt"))
            .ok_or_else(|| {
                ProviderError::option(
                    "trt_engine_cache_path",
                    "there is no HOME to keep engines under; name a folder for them",
                )
            })
    }
}

/// Loads a stage by its context model where there is one, or else by its graph. An engine that cannot be used is removed,
/// and `rebuild` called before one is built.
fn load<T>(
    guard: &Guard,
    context_model: Option<&Path>,
    graph: &Path,
    mut commit: impl FnMut(&Path) -> Result<T, String>,
    rebuild: impl FnOnce(&str),
) -> Result<T, ProviderError> {
    let mut loaded = commit(context_model.unwrap_or(graph));
    if let Err(problem) = &loaded
        && BAD_ENGINE.iter().any(|says| problem.contains(says))
        && guard.has_engine()
    {
        rebuild(problem);
        guard.discard()?;
        loaded = commit(graph);
    }
    loaded.map_err(ProviderError::Runtime)
}
