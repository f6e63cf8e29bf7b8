//! What a benchmark found, as it is written in JSON.

use serde::Serialize;

use super::statistics::Summary;

/// The findings of a benchmark. Times are in seconds, memory is in bytes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What was run.
    pub model: ModelReport,
    /// What it was run on.
    pub setup: SetupReport,
    /// What was scored.
    pub workload: WorkloadReport,
    /// How long loading took.
    pub load: LoadReport,
    /// How much was scored in a second.
    pub throughput: ThroughputReport,
    /// How long a conversation takes.
    pub latency: LatencyReport,
    /// What is done before a stage gets a pack.
    pub steps: StepsReport,
    /// What each stage did in the measured rounds.
    pub stages: Vec<StageReport>,
    /// How much of the device's arithmetic was used.
    pub utilisation: UtilisationReport,
    /// How much memory was taken.
    pub memory: MemoryReport,
    /// Which operators the time went to, see [`Bench::into_profile`](super::Bench::into_profile). Empty unless it was
    /// put there.
    pub operators: Vec<OperatorReport>,
}

/// The model.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ModelReport {
    /// The class that the checkpoint names.
    pub architecture: String,
    /// What its weights are stored as.
    pub precision: String,
    /// Layers.
    pub layers: usize,
    /// Stages.
    pub stages: usize,
}

/// Where and how it ran.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SetupReport {
    /// The device of each stage, of the first copy of the model.
    pub devices: Vec<String>,
    /// Copies of the model.
    pub replicas: usize,
    /// Threads for CPU work, of the whole process.
    pub threads: usize,
    /// Version of ONNX Runtime.
    pub ort_version: String,
    /// Whether one stage at a time was in memory.
    pub streamed: bool,
    /// Most unique tokens of a pack.
    pub max_tokens: usize,
}

/// What one round scores.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkloadReport {
    /// The kind of workload, or the name of the file.
    pub name: String,
    /// Records.
    pub records: usize,
    /// Their conversations.
    pub conversations: usize,
}

/// Loading.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// From the start to a model that is ready.
    pub seconds: f64,
    /// The first loading of each stage.
    pub stages: Vec<StageLoadReport>,
}

/// The loading of a stage.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StageLoadReport {
    /// The copy of the model.
    pub replica: usize,
    /// The stage.
    pub stage: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Scoring everything, as fast as it goes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ThroughputReport {
    /// Each of the measured rounds.
    pub rounds: Vec<RoundReport>,
    /// The median of their conversations a second.
    pub conversations_per_second: f64,
    /// The median of their tokens a second, each conversation by itself.
    pub real_tokens_per_second: f64,
    /// The median of their unique tokens a second: what the linear layers compute.
    pub unique_tokens_per_second: f64,
    /// The median of their attention cells a second, padding included: what attention computes.
    pub padded_tokens_per_second: f64,
}

/// A measured round.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct RoundReport {
    /// How long it took.
    pub seconds: f64,
    /// Conversations that were scored.
    pub scored: usize,
    /// Conversations that could not be.
    pub failed: usize,
    /// Packs.
    pub packs: usize,
    /// Tokens, each conversation by itself: of all that were put into packs, also of packs that failed. What is refused
    /// before, such as a conversation that is too long, has none. So it is with the next two.
    pub real_tokens: usize,
    /// Unique tokens.
    pub unique_tokens: usize,
    /// Attention cells, padding included.
    pub padded_tokens: usize,
}

/// The time from handing in a conversation as text to its score.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct LatencyReport {
    /// With nothing else under way; absent when no samples were asked for, or none could be scored.
    pub alone: Option<Summary>,
    /// While as many conversations are under way as there are clients; absent as `alone` is.
    pub loaded: Option<Summary>,
    /// The clients, of which there are no more than samples: each hands in its next conversation when it has the score
    /// of the last.
    pub clients: usize,
    /// Samples that could not be scored, alone and under load together.
    pub failed: usize,
}

/// A stage in the measured rounds. The shares add up to 1.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StageReport {
    /// The copy of the model.
    pub replica: usize,
    /// The stage.
    pub stage: usize,
    /// Its device.
    pub device: String,
    /// Packs that it ran.
    pub packs: usize,
    /// Their unique tokens.
    pub tokens: usize,
    /// Multiplications and additions that those packs need: attention over the padding of rows is left out.
    pub flops: u64,
    /// The same a second, while it ran.
    pub flops_per_second: Option<f64>,
    /// Time in runs.
    pub busy_seconds: f64,
    /// The share of the time in runs.
    pub busy_share: f64,
    /// The share of the time being loaded, for a model that is streamed.
    pub loading_share: f64,
    /// The rest: waiting for packs, or for the device that it shares.
    pub idle_share: f64,
}

/// What is done before a stage gets a pack, while stages compute others: shares of the time of the measured rounds.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct StepsReport {
    /// Chat template and tokenizer.
    pub tokenise_share: f64,
    /// The plan, and the packs' inputs.
    pub plan_share: f64,
}

/// The model's arithmetic against that of bare matrix products.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct UtilisationReport {
    /// Multiplications and additions of the measured rounds.
    pub flops: u64,
    /// The same a second, over the time of the rounds.
    pub flops_per_second: f64,
    /// What the devices reach on matrix products, measured between the rounds.
    pub matrix: MatrixReport,
    /// Model FLOPs utilisation: the former over the latter.
    pub share: f64,
}

/// The rate of matrix products through the same library, with the threads of the whole process.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MatrixReport {
    /// The median of the measurements, all devices together.
    pub flops_per_second: f64,
    /// The lowest and the highest.
    pub range: [f64; 2],
    /// Number of measurements: one behind each round.
    pub measurements: usize,
    /// Rows of the products, as the token budget has them, and the widths between which they go, those of the model's
    /// MLP; cut so that no matrix has more than 64 Mi elements.
    pub sizes: [usize; 3],
    /// What is multiplied.
    pub element: String,
}

/// Memory.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct MemoryReport {
    /// The most that the process had resident until the end of the first round, before the matrices of the
    /// utilisation were there; absent where the system does not report it.
    pub host_peak: Option<u64>,
    /// What was in use of each GPU that the model is on, where the driver reports it.
    pub devices: Vec<DeviceMemoryReport>,
}

/// Memory of a GPU, in bytes, all processes together.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DeviceMemoryReport {
    /// The device, `cuda:0`.
    pub device: String,
    /// What was in use before the model was loaded.
    pub before: u64,
    /// The most that was seen in use until the end of the first round. The driver is asked 50 times a second: what is there
    /// for a shorter time can be missed.
    pub peak: u64,
}

/// The time of all nodes of an operator, in all stages and runs since the model was loaded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OperatorReport {
    /// The operator, such as `Gemm`.
    pub operator: String,
    /// Seconds in its kernels.
    pub seconds: f64,
    /// Of the time in all kernels, from 0 to 1.
    pub share: f64,
    /// Runs of its nodes.
    pub runs: u64,
}
