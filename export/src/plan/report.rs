//! A whole plan: what fits where, how fast that could be, and what a data set would cost.

use std::ops::Range;

use serde::Serialize;
use worldpm_ort_bundle::{
    Bytes, Device, Manifest,
    cost::{DEFAULT_MEAN_LENGTH, GraphCosts, ModelCosts, Part, RunSizes, StageMemory, TokenBudget},
};

use super::{
    assign::{DeviceMemory, PlacedStage, Stages, assign_layers},
    draft::Draft,
    estimate::{Bill, Efficiency, Speed, StageTime, bill, speed},
    format::Format,
    gpu::{Gpu, GpuCount},
};
use crate::{
    checkpoint::Checkpoint,
    error::{Error, Result},
    options::ExportOptions,
};

/// The devices that a plan is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Fleet {
    /// As many GPUs of this kind as are needed.
    Any(Gpu),
    /// These GPUs.
    Gpus(Vec<Gpu>),
    /// Devices of which only the memory is known.
    Memory(DeviceMemory),
}

impl Fleet {
    /// From what was asked for: one kind without a number stands for as many as are needed, else each is counted.
    #[must_use]
    pub fn of(counts: &[GpuCount]) -> Self {
        match counts {
            [only] if only.count.is_none() => Self::Any(only.gpu),
            _ => Self::Gpus(
                counts
                    .iter()
                    .flat_map(|kind| std::iter::repeat_n(kind.gpu, kind.count.unwrap_or(1)))
                    .collect(),
            ),
        }
    }

    fn memory(&self) -> DeviceMemory {
        match self {
            Self::Any(gpu) => DeviceMemory::Each(gpu.memory()),
            Self::Gpus(gpus) => DeviceMemory::List(gpus.iter().map(Gpu::memory).collect()),
            Self::Memory(memory) => memory.clone(),
        }
    }

    fn gpu(&self, device: usize) -> Option<Gpu> {
        match self {
            Self::Any(gpu) => Some(*gpu),
            Self::Gpus(gpus) => gpus.get(device).copied(),
            Self::Memory(_) => None,
        }
    }

    /// How many pipelines of `stages` stages they make, when they are all of a kind.
    fn replicas(&self, stages: usize) -> usize {
        match self {
            Self::Gpus(gpus) if gpus.iter().all(|gpu| Some(gpu) == gpus.first()) => {
                (gpus.len() / stages.max(1)).max(1)
            }
            _ => 1,
        }
    }
}

/// What to plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOptions {
    /// The devices.
    pub fleet: Fleet,
    /// What one run of the model may hold.
    pub budget: TokenBudget,
    /// Tokens of a conversation, on average. Default 512.
    pub mean_length: u64,
    /// Shares of the peak rates that are counted on.
    pub efficiency: Efficiency,
    /// Unique tokens of the data set to score.
    pub tokens: Option<f64>,
    /// Price of a GPU for an hour.
    pub price_per_hour: Option<f64>,
}

impl PlanOptions {
    /// The defaults, for these devices.
    #[must_use]
    pub fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            budget: TokenBudget::default(),
            mean_length: DEFAULT_MEAN_LENGTH,
            efficiency: Efficiency::default(),
            tokens: None,
            price_per_hour: None,
        }
    }

    /// A pack of average conversations.
    fn typical(&self) -> RunSizes {
        self.budget.typical(self.mean_length)
    }
}

/// A model whose costs are known, ready to be planned.
#[derive(Clone, Debug)]
pub struct Prepared {
    architecture: String,
    precision: String,
    /// For a checkpoint, the whole model; for a bundle, each of its stages.
    costs: ModelCosts,
    /// How a checkpoint is divided; a bundle is.
    stages: Option<Stages>,
}

impl Prepared {
    /// A checkpoint, as an export with `export` would have it.
    ///
    /// # Errors
    /// Whatever is wrong with the checkpoint or the options, as for [`crate::export`].
    pub fn checkpoint(
        checkpoint: &Checkpoint,
        export: &ExportOptions,
        options: &PlanOptions,
    ) -> Result<Self> {
        let config = checkpoint.config();
        let fullest = options
            .budget
            .fullest(config.max_position_embeddings as u64);
        let format = Format::new(checkpoint, export)?;
        let precision = format.precision.to_string();
        let draft = Draft::new(checkpoint, export, format, &[])?;
        let [fullest, typical] = draft.costs([fullest, options.typical()])?;
        Ok(Self {
            architecture: config.architecture.to_string(),
            precision,
            costs: ModelCosts {
                device: export.device,
                hidden_size: config.hidden_size as u64,
                graphs: vec![GraphCosts {
                    layers: 0..config.num_hidden_layers,
                    fullest,
                    typical,
                }],
            },
            stages: Some(export.stages),
        })
    }

    /// The bundle in `directory`, whose stages are as they are.
    ///
    /// # Errors
    /// [`Error::Bundle`] when the bundle cannot be read.
    pub fn bundle(directory: &std::path::Path, options: &PlanOptions) -> Result<Self> {
        let manifest = Manifest::read(directory)?;
        let (budget, mean_length) = (options.budget, options.mean_length);
        let costs = ModelCosts::of_bundle(directory, &manifest, budget, mean_length)?;
        Ok(Self {
            architecture: manifest.model.architecture,
            precision: manifest.precision.to_string(),
            costs,
            stages: None,
        })
    }

    /// The kind of device that it is for.
    #[must_use]
    pub fn device(&self) -> Device {
        self.costs.device
    }

    /// Bytes that a stage hands on for each token, see [`ModelCosts::hidden_bytes`].
    #[must_use]
    pub fn hidden_bytes(&self) -> u64 {
        self.costs.hidden_bytes()
    }

    /// The stages on their devices.
    fn place(&self, options: &PlanOptions) -> Result<Vec<PlacedStage>> {
        let memory = options.fleet.memory();
        if let (Some(stages), [graph]) = (self.stages, self.costs.graphs.as_slice()) {
            return assign_layers(
                &graph.fullest,
                stages,
                self.device(),
                Some(&memory),
                options.budget,
            );
        }
        let placed = self.costs.graphs.iter().enumerate().map(|(index, graph)| {
            let capacity = match &memory {
                DeviceMemory::Each(size) => Some(*size),
                DeviceMemory::List(sizes) => sizes.get(index).copied(),
            };
            let memory = graph
                .fullest
                .stage_memory(graph.layers.clone(), self.device());
            let fits = capacity.is_some_and(|capacity| memory.total() <= capacity.0);
            if fits {
                return Ok(PlacedStage {
                    layers: graph.layers.clone(),
                    device: index,
                    capacity,
                    memory,
                });
            }
            Err(Error::StageTooLarge {
                stage: index,
                needs: Bytes(memory.total()),
                weights: Bytes(memory.weights),
                device: capacity.map_or_else(
                    || "there is no device for it".to_owned(),
                    |capacity| format!("its device has {capacity}"),
                ),
            })
        });
        placed.collect()
    }

    /// The parts of a stage for a typical pack.
    fn parts(&self, index: usize, layers: &Range<usize>) -> Vec<Part> {
        match (self.costs.graphs.as_slice(), self.costs.graphs.get(index)) {
            ([whole], _) => whole.typical.stage_parts(layers),
            (_, Some(graph)) => graph.typical.parts().copied().collect(),
            _ => Vec::new(),
        }
    }
}

/// A stage of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedStage {
    /// First layer, and one past the last.
    pub layers: (usize, usize),
    /// Position of its device.
    pub device: usize,
    /// Name of its GPU, when it is known.
    pub gpu: Option<&'static str>,
    /// Memory of its device, in bytes.
    pub capacity: Option<u64>,
    /// Memory that it takes, in bytes.
    pub memory: StageMemory,
    /// All of that.
    pub total: u64,
    /// Time for a typical pack, when the GPU is known.
    pub time: Option<StageTime>,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Class of the model.
    pub architecture: String,
    /// What the weights are stored as.
    pub precision: String,
    /// Kind of device.
    pub device: Device,
    /// Most unique tokens of a pack.
    pub max_tokens: u64,
    /// Most attention cells of a pack.
    pub max_cells: u64,
    /// Unique tokens of the pack of average conversations that times are for.
    pub pack_tokens: u64,
    /// Memory of all weights, in bytes.
    pub weights: u64,
    /// The stages.
    pub stages: Vec<PlannedStage>,
    /// Pipelines side by side.
    pub replicas: usize,
    /// Devices that the pipelines use.
    pub devices: usize,
    /// Devices that are left over.
    pub devices_left: usize,
    /// The estimate of speed, when the GPUs are known.
    pub speed: Option<Speed>,
    /// The bill for the data set, when there is one.
    pub bill: Option<Bill>,
    /// What the figures rest on.
    pub assumptions: Vec<String>,
}

/// Plans a model on devices.
///
/// # Errors
/// [`Error::NoFit`], [`Error::StageTooLarge`] or [`Error::Stages`] when it cannot be placed on them.
pub fn plan(model: &Prepared, options: &PlanOptions) -> Result<Plan> {
    let placed = model.place(options)?;
    let mut times = Vec::new();
    let stages: Vec<PlannedStage> = placed
        .iter()
        .enumerate()
        .map(|(index, stage)| {
            let gpu = options.fleet.gpu(stage.device);
            let parts = model.parts(index, &stage.layers);
            let resident: u64 = parts.iter().map(|part| part.resident).sum();
            let read = resident.saturating_sub(model.costs.embedding(index));
            let time = gpu.map(|gpu| StageTime::of(&parts, read, &gpu, options.efficiency));
            times.extend(time);
            PlannedStage {
                layers: (stage.layers.start, stage.layers.end),
                device: stage.device,
                gpu: gpu.map(|gpu| gpu.name),
                capacity: stage.capacity.map(|Bytes(bytes)| bytes),
                memory: stage.memory,
                total: stage.memory.total(),
                time,
            }
        })
        .collect();
    let replicas = options.fleet.replicas(stages.len());
    let used = replicas * stages.len();
    let given = match &options.fleet {
        Fleet::Gpus(gpus) => gpus.len(),
        Fleet::Memory(DeviceMemory::List(sizes)) => sizes.len(),
        Fleet::Any(_) | Fleet::Memory(DeviceMemory::Each(_)) => used,
    };
    let speed = match times.len() == stages.len() {
        true => speed(&times, options.typical().tokens, replicas),
        false => None,
    };
    let bill = match (&speed, options.tokens) {
        (Some(speed), Some(tokens)) => Some(bill(tokens, speed, used, options.price_per_hour)),
        _ => None,
    };
    Ok(Plan {
        architecture: model.architecture.clone(),
        precision: model.precision.clone(),
        device: model.device(),
        max_tokens: options.budget.max_tokens,
        max_cells: options.budget.max_cells,
        pack_tokens: options.typical().tokens,
        weights: stages.iter().map(|stage| stage.memory.weights).sum(),
        assumptions: assumptions(options, &stages, speed.is_some()),
        stages,
        replicas,
        devices: used,
        devices_left: given.saturating_sub(used),
        speed,
        bill,
    })
}

fn assumptions(options: &PlanOptions, stages: &[PlannedStage], with_speed: bool) -> Vec<String> {
    let TokenBudget {
        max_tokens,
        max_cells,
    } = options.budget;
    let mut list = vec![
        "nothing has run on a GPU yet: these figures are worked out, not measured".to_owned(),
        format!(
            "memory is for packs of {max_tokens} tokens and {max_cells} attention cells; a longer conversation goes \
             alone and takes more"
        ),
    ];
    if with_speed {
        let Efficiency { compute, bandwidth } = options.efficiency;
        let RunSizes { rows, columns, .. } = options.typical();
        list.extend([
            format!(
                "speed is for packs of {rows} conversations of {columns} tokens that share nothing, at {:.0}% of the dense \
                 16-bit rate of the data sheets; weights are read once for each pack, at {:.0}% of their bandwidth",
                compute * 100.0,
                bandwidth * 100.0
            ),
            "all stages are busy; copies between GPUs, activations, tokenising and loading are not counted".to_owned(),
            "tokens are unique ones: a beginning that conversations share is computed once".to_owned(),
        ]);
    }
    let mut names: Vec<&str> = stages.iter().filter_map(|stage| stage.gpu).collect();
    names.dedup();
    for gpu in names.into_iter().filter_map(Gpu::named) {
        list.push(format!("{}: figures of the {}", gpu.name, gpu.source));
        list.extend(gpu.note.map(|note| format!("{}: {note}", gpu.name)));
    }
    list
}
