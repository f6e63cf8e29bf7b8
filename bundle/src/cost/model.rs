//! What a model costs: as one graph, or stage by stage as a bundle has it.

use std::{ops::Range, path::Path};

use super::{
    graph::Costs,
    memory::{Overheads, StageMemory, TokenBudget},
};
use crate::{error::Result, manifest::Manifest, proto::ModelProto, vocabulary::Device};

/// The costs of a graph.
#[derive(Clone, Debug)]
pub struct GraphCosts {
    /// Its layers.
    pub layers: Range<usize>,
    /// For a pack that fills the budget, which takes the most memory.
    pub fullest: Costs,
    /// For a pack of average conversations.
    pub typical: Costs,
}

/// The costs of a model's graphs.
#[derive(Clone, Debug)]
pub struct ModelCosts {
    /// The kind of device that it is for.
    pub device: Device,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Each stage of a bundle, or the whole model of a checkpoint.
    pub graphs: Vec<GraphCosts>,
}

impl ModelCosts {
    /// Those of the bundle in `directory`, whose stages are as they are, for packs of `budget` and for conversations of
    /// `mean_length` tokens on average.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) when a graph cannot be read, [`Error::Graph`](crate::Error::Graph) when it
    /// cannot be counted.
    pub fn of_bundle(
        directory: &Path,
        manifest: &Manifest,
        budget: TokenBudget,
        mean_length: u64,
    ) -> Result<Self> {
        let fullest = budget.fullest(manifest.max_length as u64);
        let graphs = manifest
            .stages
            .iter()
            .map(|stage| {
                let model = ModelProto::read(&directory.join(&stage.graph))?;
                Ok(GraphCosts {
                    layers: stage.layers.0..stage.layers.1,
                    fullest: Costs::of(&model, manifest.device, fullest)?,
                    typical: Costs::of(&model, manifest.device, budget.typical(mean_length))?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            device: manifest.device,
            hidden_size: manifest.model.hidden_size as u64,
            graphs,
        })
    }

    /// Bytes that a stage hands on for each token: hidden states are floats on the CPU, and have 16 bits elsewhere.
    #[must_use]
    pub fn hidden_bytes(&self) -> u64 {
        match self.device {
            Device::Cpu => 4 * self.hidden_size,
            Device::Cuda => 2 * self.hidden_size,
        }
    }

    /// What each stage of a bundle takes for a pack that fills the budget. On the CPU the embedding stays in its file,
    /// of which the rows in use are mapped.
    #[must_use]
    pub fn stage_memory(&self) -> Vec<StageMemory> {
        let stage = |(index, graph): (usize, &GraphCosts)| {
            let layers = graph.layers.clone();
            let mut memory = graph.fullest.stage_memory(layers, self.device);
            if self.device == Device::Cpu {
                let embedding = Overheads::of(self.device).resident(self.embedding(index));
                memory.weights = memory.weights.saturating_sub(embedding);
            }
            memory
        };
        self.graphs.iter().enumerate().map(stage).collect()
    }

    /// Multiplications and additions of each stage of a bundle for a pack of average conversations.
    #[must_use]
    pub fn stage_work(&self) -> Vec<u64> {
        let work = |graph: &GraphCosts| graph.typical.total().flops;
        self.graphs.iter().map(work).collect()
    }

    /// Bytes of the embedding, when the stage has it: it is not read whole.
    #[must_use]
    pub fn embedding(&self, stage: usize) -> u64 {
        match (stage, self.graphs.first()) {
            (0, Some(graph)) => graph.typical.first.resident,
            _ => 0,
        }
    }
}
