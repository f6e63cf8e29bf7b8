//! The memory of a stage. `docs/planning.md` has the formula and where its constants come from.

use std::ops::Range;

use super::{
    graph::{Costs, Part, Peak},
    node::RunSizes,
};
use crate::vocabulary::Device;

/// What one run of the model may hold; the same limits as when scoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBudget {
    /// Most unique tokens. Default 2048.
    pub max_tokens: u64,
    /// Most attention cells: rows times the longest row. Default 16384.
    pub max_cells: u64,
}

/// Tokens of a conversation, on average, where nothing else is known.
pub const DEFAULT_MEAN_LENGTH: u64 = 512;
/// Attention cells for each unique token of a budget.
const CELLS_FOR_A_TOKEN: u64 = 8;
/// Indices of cells have 32 bits.
const MOST_CELLS: u64 = i32::MAX as u64;

impl Default for TokenBudget {
    fn default() -> Self {
        Self {
            max_tokens: 2048,
            max_cells: CELLS_FOR_A_TOKEN * 2048,
        }
    }
}

impl TokenBudget {
    /// The budget for scoring with `max_tokens`: eight times as many cells, and no fewer than by default.
    #[must_use]
    pub fn for_tokens(max_tokens: u64) -> Self {
        let cells = max_tokens.saturating_mul(CELLS_FOR_A_TOKEN);
        Self {
            max_tokens,
            max_cells: cells.clamp(Self::default().max_cells, MOST_CELLS),
        }
    }

    /// The sizes of a run that fills the budget, with rows as long as the budget and `max_length` let them be, which is
    /// when attention needs the most memory. Every row is scored once.
    ///
    /// A conversation that is longer than the budget still runs, by itself, and takes more.
    #[must_use]
    pub fn fullest(&self, max_length: u64) -> RunSizes {
        let columns = self.max_tokens.min(self.max_cells).min(max_length).max(1);
        let rows = self.max_cells.div_ceil(columns);
        RunSizes::of_even_rows(self.max_tokens, rows, columns, rows)
    }

    /// A pack of as many conversations of `mean_length` tokens as the budget has room for. One that is longer than the
    /// budget goes alone.
    #[must_use]
    pub fn typical(&self, mean_length: u64) -> RunSizes {
        let columns = mean_length.max(1);
        let room = self.max_tokens.min(self.max_cells);
        let rows = (room / columns).max(1);
        RunSizes::of_even_rows(rows.saturating_mul(columns), rows, columns, rows)
    }
}

/// Memory that a stage takes on its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StageMemory {
    /// Weights as they are in memory.
    pub weights: u64,
    /// Activations, with what the allocator loses between them.
    pub activations: u64,
    /// What kernels and libraries take for themselves.
    pub workspace: u64,
}

impl StageMemory {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights
            .saturating_add(self.activations)
            .saturating_add(self.workspace)
    }
}

/// What a device loses to other things than the model, and what its allocator adds.
#[derive(Clone, Copy, Debug)]
pub struct Overheads {
    /// Bytes that any model takes: the driver's context, kernels, libraries.
    pub fixed: u64,
    /// Bytes of weights in memory for each byte of weights.
    weights: f64,
    /// Bytes of the arena for each byte of activations.
    arena: f64,
}

impl Overheads {
    /// Those of a device.
    #[must_use]
    pub fn of(device: Device) -> Self {
        match device {
            Device::Cpu => Self {
                fixed: 256 << 20,
                weights: 1.1,
                arena: 1.5,
            },
            Device::Cuda => Self {
                fixed: 3 << 29,
                weights: 1.0,
                arena: 1.5,
            },
        }
    }

    /// Bytes that weights of `bytes` take in memory.
    #[must_use]
    pub fn resident(&self, bytes: u64) -> u64 {
        (bytes as f64 * self.weights) as u64
    }

    /// Memory of a stage besides its weights: activations and workspace.
    #[must_use]
    pub fn transient(&self, peak: Peak) -> (u64, u64) {
        let activations = (peak.activations as f64 * self.arena) as u64;
        let workspace = (peak.workspace as f64 * self.arena) as u64;
        (activations, workspace.saturating_add(self.fixed))
    }
}

impl Costs {
    /// Memory that a stage with these layers takes on `device`; all of them and the ends when it is the whole model.
    #[must_use]
    pub fn stage_memory(&self, layers: Range<usize>, device: Device) -> StageMemory {
        let overheads = Overheads::of(device);
        let parts = self.stage_parts(&layers);
        let resident = parts
            .iter()
            .fold(0_u64, |sum, part| sum.saturating_add(part.resident));
        let (activations, workspace) = overheads.transient(self.total().peak);
        StageMemory {
            weights: overheads.resident(resident),
            activations,
            workspace,
        }
    }

    /// The parts of a stage: its layers, and the ends of the model that it has.
    #[must_use]
    pub fn stage_parts(&self, layers: &Range<usize>) -> Vec<Part> {
        let mut parts = Vec::new();
        if self
            .layers
            .keys()
            .next()
            .is_none_or(|first| layers.contains(first))
        {
            parts.push(self.first);
        }
        parts.extend(self.layers.range(layers.clone()).map(|(_, part)| *part));
        if self
            .layers
            .keys()
            .next_back()
            .is_none_or(|last| layers.contains(last))
        {
            parts.push(self.last);
        }
        parts
    }
}
