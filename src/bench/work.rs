//! The arithmetic of runs, counted in the graphs.

use std::collections::HashMap;

use worldpm_ort_export::{
    Device, Manifest,
    plan::{Costs, Pack},
    proto::ModelProto,
};

use crate::{Bundle, Result, engine::StageRun};

/// The graphs of a bundle, for counting.
pub(super) struct Work {
    device: Device,
    stages: Vec<ModelProto>,
    known: HashMap<(usize, [u64; 4]), u64>,
}

impl Work {
    pub(super) fn read(bundle: &Bundle) -> Result<Self> {
        let manifest: &Manifest = bundle.manifest();
        let stages = manifest
            .stages
            .iter()
            .map(|stage| ModelProto::read(&bundle.directory().join(&stage.graph)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            device: manifest.device,
            stages,
            known: HashMap::new(),
        })
    }

    /// Multiplications and additions of a run: those of the pack as it was planned.
    pub(super) fn flops(&mut self, run: &StageRun) -> Result<u64> {
        let pack = Pack {
            tokens: run.tokens as u64,
            rows: run.rows as u64,
            columns: run.columns as u64,
            scored: run.scored as u64,
        };
        let key = (
            run.stage,
            [pack.tokens, pack.rows, pack.columns, pack.scored],
        );
        if let Some(&flops) = self.known.get(&key) {
            return Ok(flops);
        }
        let Some(model) = self.stages.get(run.stage) else {
            return Ok(0);
        };
        let flops = Costs::of(model, self.device, pack)?.total().flops;
        self.known.insert(key, flops);
        Ok(flops)
    }
}
