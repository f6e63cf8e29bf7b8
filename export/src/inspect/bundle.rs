//! What a bundle holds, and where its nodes run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use worldpm_ort_bundle::{
    cost::{Costs, StageMemory, TokenBudget},
    files,
    fingerprint::sampled_sha256,
    hash::{header_sha256, sha256_hex},
    manifest::{Manifest, WeightFile},
    proto::{ModelProto, view::element_name},
    readiness::{self, AssignedNode, Origin, Report, RunsOn, Violation},
};

use super::tensors::{LayerInfo, Tensor, TensorGroup, group, runs};
use crate::error::{Error, Result};

/// A bundle, without its weights' values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BundleInfo {
    /// Its directory.
    pub directory: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// Every file that belongs to it, and whether it is as it was exported.
    pub files: Vec<FileInfo>,
    /// The stages, as far as their graphs are there.
    pub stages: Vec<StageInfo>,
    /// The weights that the graphs use.
    pub tensors: Vec<TensorGroup>,
    /// Where the tables come from that say where nodes run.
    pub tables: Origin,
    /// The token budget for which memory is counted.
    pub max_tokens: u64,
    /// The same for attention cells.
    pub max_cells: u64,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// The graph of a stage.
    Graph,
    /// Tokenizer or chat template.
    Text,
    /// Weights.
    Weights,
}

/// Whether a file is what the manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// It has the size and the hash: of the header and of samples, for weights.
    Good,
    /// It has not.
    Changed,
    /// It is not there.
    Missing,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileInfo {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: FileKind,
    /// Its size by the manifest; of a file that is there, where the manifest does not say.
    pub bytes: Option<u64>,
    /// SHA-256 by the manifest: of the whole file, or of the header of a weight file.
    pub sha256: String,
    /// Whether it is what the manifest says.
    pub state: FileState,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageInfo {
    /// File name of the graph.
    pub graph: String,
    /// First layer, and one past the last.
    pub layers: (usize, usize),
    /// Bytes of the weights in their files.
    pub stored: u64,
    /// Memory on its device, for a pack that fills the budget.
    pub memory: StageMemory,
    /// Its layers, those of equal size together.
    pub by_layer: Vec<LayerInfo>,
    /// Nodes that the provider of the device runs.
    pub device_nodes: usize,
    /// Nodes that the host runs.
    pub host_nodes: usize,
    /// Nodes by operator, type and place.
    pub operators: Vec<OperatorInfo>,
    /// Operands that kernels read in the host's memory, and the value that is read.
    pub host_operands: Vec<(String, String)>,
    /// Nodes that would not run where they should.
    pub violations: Vec<Violation>,
    /// Every node.
    #[serde(skip)]
    pub placements: Vec<AssignedNode>,
}

/// Nodes of one operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OperatorInfo {
    /// The operator.
    pub operator: String,
    /// Type of what it gives.
    pub element: String,
    /// Where it runs.
    pub place: RunsOn,
    /// How many nodes there are.
    pub count: usize,
}

impl BundleInfo {
    pub(super) fn of(directory: &Path, weights: Option<&Path>) -> Result<Self> {
        let manifest = Manifest::read(directory)?;
        let folder = match (weights, &manifest.weights.directory) {
            (Some(folder), _) => folder.to_owned(),
            (None, Some(folder)) => PathBuf::from(folder),
            (None, None) => directory.to_owned(),
        };
        let budget = TokenBudget::default();
        let mut files = Vec::new();
        let mut stages = Vec::new();
        let mut tensors = Vec::new();
        for stage in &manifest.stages {
            let path = directory.join(&stage.graph);
            let state = whole_file(&path, Some(stage.bytes), &stage.sha256)?;
            files.push(FileInfo {
                name: stage.graph.clone(),
                kind: FileKind::Graph,
                bytes: Some(stage.bytes),
                sha256: stage.sha256.clone(),
                state,
            });
            if state == FileState::Missing {
                continue;
            }
            let model = ModelProto::read(&path)?;
            tensors.extend(weights_of(&model));
            stages.push(StageInfo::of(
                &manifest,
                stage.layers,
                &stage.graph,
                &model,
                budget,
            )?);
        }
        for file in &manifest.text.files {
            let path = directory.join(&file.name);
            files.push(FileInfo {
                name: file.name.clone(),
                kind: FileKind::Text,
                bytes: fs::metadata(&path).ok().map(|metadata| metadata.len()),
                sha256: file.sha256.clone(),
                state: whole_file(&path, None, &file.sha256)?,
            });
        }
        for file in &manifest.weights.files {
            files.push(FileInfo {
                name: file.name.clone(),
                kind: FileKind::Weights,
                bytes: Some(file.bytes),
                sha256: file.header_sha256.clone(),
                state: weight_file(&folder.join(&file.name), file),
            });
        }
        Ok(Self {
            directory: directory.display().to_string(),
            files,
            stages,
            tensors: group(tensors),
            tables: readiness::origin()?,
            max_tokens: budget.max_tokens,
            max_cells: budget.max_cells,
            manifest,
        })
    }

    /// Whether every file is what the manifest says and every node runs where it should.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.files.iter().all(|file| file.state == FileState::Good)
            && self.stages.iter().all(|stage| stage.violations.is_empty())
    }
}

impl StageInfo {
    fn of(
        manifest: &Manifest,
        layers: (usize, usize),
        graph: &str,
        model: &ModelProto,
        budget: TokenBudget,
    ) -> Result<Self> {
        let Report {
            placements,
            violations,
            host_operands,
            ..
        } = readiness::check(model, manifest.device, manifest.target)?;
        let costs = Costs::of(
            model,
            manifest.device,
            budget.fullest(manifest.max_length as u64),
        )?;
        let mut operators: BTreeMap<(String, String, bool), usize> = BTreeMap::new();
        for node in &placements {
            let on_host = node.place == RunsOn::Host;
            let key = (node.operator.clone(), node.element.clone(), on_host);
            *operators.entry(key).or_default() += 1;
        }
        let host_nodes = placements
            .iter()
            .filter(|p| p.place == RunsOn::Host)
            .count();
        Ok(Self {
            graph: graph.to_owned(),
            layers,
            stored: costs.total().stored,
            memory: costs.stage_memory(layers.0..layers.1, manifest.device),
            by_layer: runs(
                costs
                    .layers
                    .iter()
                    .map(|(layer, part)| (*layer, part.stored, part.resident)),
            ),
            device_nodes: placements.len() - host_nodes,
            host_nodes,
            operators: operators
                .into_iter()
                .map(|((operator, element, on_host), count)| OperatorInfo {
                    operator,
                    element,
                    place: if on_host {
                        RunsOn::Host
                    } else {
                        RunsOn::Device
                    },
                    count,
                })
                .collect(),
            host_operands,
            violations,
            placements,
        })
    }
}

/// The weights of a graph that are kept in files.
fn weights_of(model: &ModelProto) -> Vec<Tensor> {
    let initializers = model.graph.iter().flat_map(|graph| &graph.initializer);
    initializers
        .filter(|tensor| tensor.data_location == Some(1))
        .map(|tensor| Tensor {
            name: tensor.name.clone().unwrap_or_default(),
            element: element_name(tensor.data_type.unwrap_or_default()).to_owned(),
            shape: tensor
                .dims
                .iter()
                .map(|size| size.max(&0).unsigned_abs())
                .collect(),
            bytes: tensor
                .external_data
                .iter()
                .find(|entry| entry.key.as_deref() == Some("length"))
                .and_then(|entry| entry.value.as_deref()?.parse().ok())
                .unwrap_or(0),
        })
        .collect()
}

fn whole_file(path: &Path, bytes: Option<u64>, sha256: &str) -> Result<FileState> {
    if !path.exists() {
        return Ok(FileState::Missing);
    }
    let text = files::read_limited(path, files::MAX_TEXT_BYTES)
        .map_err(|source| Error::io("read", path, source))?;
    let same_size = bytes.is_none_or(|bytes| bytes == text.len() as u64);
    Ok(match same_size && sha256_hex(&text) == sha256 {
        true => FileState::Good,
        false => FileState::Changed,
    })
}

fn weight_file(path: &Path, file: &WeightFile) -> FileState {
    let Ok(metadata) = fs::metadata(path) else {
        return FileState::Missing;
    };
    let same = metadata.len() == file.bytes
        && header_sha256(path).is_ok_and(|found| found == file.header_sha256)
        && file
            .sampled_sha256
            .as_ref()
            .is_none_or(|samples| sampled_sha256(path).is_ok_and(|found| found == *samples));
    if same {
        FileState::Good
    } else {
        FileState::Changed
    }
}
