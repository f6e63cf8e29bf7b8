//! Which device holds which layers.

use std::{fmt, ops::Range, str::FromStr};

use worldpm_ort_bundle::{
    Bytes, Device,
    cost::{Costs, Overheads, Part, StageMemory, TokenBudget},
};

use super::divide::{self, Cost};
use crate::error::{Error, Result};

/// How many stages a model is divided into: a number, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stages {
    /// So many.
    Count(usize),
    /// As few as fit the devices.
    Auto,
}

impl Default for Stages {
    /// One.
    fn default() -> Self {
        Self::Count(1)
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(stages) => write!(f, "{stages}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for Stages {
    type Err = StagesError;

    fn from_str(text: &str) -> Result<Self, StagesError> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Count).map_err(|_| StagesError),
        }
    }
}

/// Text that is no number of stages.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("give a number, or auto")]
pub struct StagesError;

/// The devices that stages are placed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceMemory {
    /// As many devices as are needed, of this much memory each.
    Each(Bytes),
    /// These devices, in this order. Stages follow the order; of more devices than are needed, the largest are used.
    List(Vec<Bytes>),
}

impl From<Vec<Bytes>> for DeviceMemory {
    /// One size stands for any number of such devices.
    fn from(sizes: Vec<Bytes>) -> Self {
        match *sizes.as_slice() {
            [size] => Self::Each(size),
            _ => Self::List(sizes),
        }
    }
}

/// A stage and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedStage {
    /// Its layers.
    pub layers: Range<usize>,
    /// Position of its device among the devices.
    pub device: usize,
    /// Memory of the device; `None` when none was named.
    pub capacity: Option<Bytes>,
    /// Memory that the stage takes.
    pub memory: StageMemory,
}

/// Divides a model among stages so that every stage fits its device and the slowest stage is as fast as it can be.
///
/// `devices` of `None` have no limit; they go with [`Stages::Count`]. `budget` is for the message when nothing fits.
///
/// # Errors
/// [`Error::Stages`] when there are more stages than layers, or none; [`Error::NoFit`] when the model does not fit the
/// devices; [`Error::Option`] when [`Stages::Auto`] is asked for without devices.
pub fn assign_layers(
    costs: &Costs,
    stages: Stages,
    device: Device,
    devices: Option<&DeviceMemory>,
    budget: TokenBudget,
) -> Result<Vec<PlacedStage>> {
    let model = Model::new(costs, device);
    let most = costs.layers.len();
    let counts = match stages {
        Stages::Count(stages) if stages == 0 || stages > most => {
            return Err(Error::Stages {
                stages,
                layers: most,
            });
        }
        Stages::Count(stages) => stages..=stages,
        Stages::Auto => match devices {
            None => {
                return Err(Error::Option {
                    option: "stages".into(),
                    problem: "is auto, which needs the memory of the devices (device_memory)"
                        .into(),
                });
            }
            Some(DeviceMemory::Each(_)) => 1..=most,
            Some(DeviceMemory::List(sizes)) => 1..=most.min(sizes.len()),
        },
    };
    for count in counts.clone() {
        let Some(chosen) = choose(devices, count) else {
            continue;
        };
        let limits: Vec<u64> = chosen.iter().map(|chosen| model.limit(chosen.1)).collect();
        if let Some(plan) = divide::divide(&model.layers, &limits) {
            return Ok(plan
                .into_iter()
                .zip(chosen)
                .map(|(layers, (device_index, capacity))| PlacedStage {
                    memory: costs.stage_memory(layers.clone(), device),
                    layers,
                    device: device_index,
                    capacity,
                })
                .collect());
        }
    }
    Err(model.no_fit(stages, devices, budget))
}

/// The devices that `count` stages go to: the largest, in the order in which they were given.
fn choose(devices: Option<&DeviceMemory>, count: usize) -> Option<Vec<(usize, Option<Bytes>)>> {
    match devices {
        None => Some((0..count).map(|index| (index, None)).collect()),
        Some(DeviceMemory::Each(size)) => {
            Some((0..count).map(|index| (index, Some(*size))).collect())
        }
        Some(DeviceMemory::List(sizes)) => {
            let mut largest: Vec<(usize, Option<Bytes>)> = sizes
                .iter()
                .enumerate()
                .map(|(index, size)| (index, Some(*size)))
                .collect();
            largest.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
            largest.truncate(count);
            largest.sort_unstable_by_key(|(index, _)| *index);
            (largest.len() == count).then_some(largest)
        }
    }
}

/// A model as a row of layers, its ends counted with the first and the last.
struct Model {
    layers: Vec<Cost>,
    /// Bytes that every stage needs besides its weights.
    transient: StageMemory,
    /// Bytes of all weights.
    weights: u64,
}

impl Model {
    fn new(costs: &Costs, device: Device) -> Self {
        let overheads = Overheads::of(device);
        let mut layers: Vec<Cost> = costs
            .layers
            .values()
            .map(|part| Cost {
                work: part.flops,
                bytes: overheads.resident(part.resident),
            })
            .collect();
        let add = |layer: Option<&mut Cost>, part: &Part| {
            if let Some(layer) = layer {
                layer.work = layer.work.saturating_add(part.flops);
                layer.bytes += overheads.resident(part.resident);
            }
        };
        add(layers.first_mut(), &costs.first);
        add(layers.last_mut(), &costs.last);
        let (activations, workspace) = overheads.transient(costs.total().peak);
        Self {
            weights: layers.iter().map(|layer| layer.bytes).sum(),
            layers,
            transient: StageMemory {
                weights: 0,
                activations,
                workspace,
            },
        }
    }

    /// The most bytes of weights that a device can hold.
    fn limit(&self, capacity: Option<Bytes>) -> u64 {
        capacity.map_or(u64::MAX, |Bytes(bytes)| {
            bytes.saturating_sub(self.transient.total())
        })
    }

    fn no_fit(&self, stages: Stages, devices: Option<&DeviceMemory>, budget: TokenBudget) -> Error {
        let largest = self
            .layers
            .iter()
            .map(|layer| layer.bytes)
            .max()
            .unwrap_or(0);
        let devices = match devices {
            None => "devices without a limit".to_owned(),
            Some(DeviceMemory::Each(size)) => match stages {
                Stages::Count(count) => format!("{count} devices of {size}"),
                Stages::Auto => format!("devices of {size}, one for each layer"),
            },
            Some(DeviceMemory::List(sizes)) => {
                let list: Vec<String> = sizes.iter().map(ToString::to_string).collect();
                match stages {
                    Stages::Count(count) if count > sizes.len() => {
                        format!(
                            "{} devices ({}) for {count} stages",
                            sizes.len(),
                            list.join(", ")
                        )
                    }
                    _ => format!("devices of {}", list.join(", ")),
                }
            }
        };
        Error::NoFit {
            devices,
            weights: Bytes(self.weights),
            largest: Bytes(largest),
            activations: Bytes(self.transient.activations),
            workspace: Bytes(self.transient.workspace),
            tokens: budget.max_tokens,
            cells: budget.max_cells,
        }
    }
}
