//! The arithmetic of runs, counted in the graphs.

use std::collections::HashMap;

use worldpm_ort_bundle::{
    Device, Manifest,
    cost::{Costs, RunSizes},
    proto::ModelProto,
};

use crate::{Bundle, Result, engine::StageRun};

/// The graphs of a bundle, for counting.
pub(super) struct Work {
    device: Device,
    stages: Vec<ModelProto>,
    known: HashMap<(usize, RunSizes), u64>,
}

impl Work {
    pub(super) fn read(bundle: &Bundle) -> Result<Self> {
        let manifest: &Manifest = bundle.manifest();
        let stages = manifest
            .stages
            .iter()
            .map(|stage| ModelProto::read(&bundle.directory().join(&stage.graph)))
            .collect::<Result<_, _>>()?;
        Ok(Self::of(manifest.device, stages))
    }

    /// For stages with these graphs.
    pub(super) fn of(device: Device, stages: Vec<ModelProto>) -> Self {
        Self {
            device,
            stages,
            known: HashMap::new(),
        }
    }

    /// Multiplications and additions that a run needs: attention over the padding of rows is left out.
    pub(super) fn flops(&mut self, run: &StageRun) -> Result<u64> {
        let pack = RunSizes {
            tokens: run.tokens as u64,
            rows: run.rows as u64,
            columns: run.columns as u64,
            scored: run.scored as u64,
            row_squares: run.row_squares,
        };
        let key = (run.stage, pack);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::time::Instant;

    use worldpm_ort_bundle::{
        graph::{Dim, GraphBuilder},
        op::{
            Heads, Projections, Scores,
            contrib::{RowLengths, group_query_attention},
        },
        proto::ElementType,
    };

    use super::*;

    /// Width of the queries of [`attention`].
    pub(crate) const WIDTH: u64 = 8;

    /// A graph that does nothing but attention.
    pub(crate) fn attention() -> ModelProto {
        let mut b = GraphBuilder::new("attention");
        let mut rows = |name, width| {
            let shape = [Dim::Named("B"), Dim::Named("S"), Dim::Fixed(width)];
            b.input(name, ElementType::Float, shape).unwrap()
        };
        let (query, key, value) = (rows("q", WIDTH), rows("k", 4), rows("v", 4));
        let projections = Projections {
            query: &query,
            key: &key,
            value: &value,
            heads: Heads {
                query: 2,
                key_value: 1,
                size: 4,
            },
        };
        let lengths = RowLengths {
            seqlens_k: b
                .input("lengths", ElementType::Int32, [Dim::Named("B")])
                .unwrap(),
            total_sequence_length: b.input("total", ElementType::Int32, []).unwrap(),
        };
        let scores = Scores::default();
        let y = group_query_attention(&mut b, "attention", projections, &lengths, scores).unwrap();
        b.output(&y, "y").unwrap();
        b.finish().unwrap().to_model()
    }

    /// A run of a pack with rows of these lengths.
    pub(crate) fn run(rows: &[usize]) -> StageRun {
        let now = Instant::now();
        StageRun {
            stage: 0,
            replica: 0,
            pack: 0,
            tokens: rows.iter().sum(),
            rows: rows.len(),
            columns: rows.iter().copied().max().unwrap_or(0),
            scored: rows.len(),
            row_squares: rows.iter().map(|length| (length * length) as u64).sum(),
            started: now,
            ended: now,
            failed: false,
        }
    }

    /// However rows are put together and padded, they need as much.
    #[test]
    fn padding_is_no_work() {
        let mut work = Work::of(Device::Cpu, vec![attention()]);
        let mut flops = |rows: &[usize]| work.flops(&run(rows)).unwrap();
        assert_eq!(flops(&[10, 4]), 2 * WIDTH * (100 + 16));
        assert_eq!(flops(&[10, 4]), flops(&[10]) + flops(&[4]));
        assert_eq!(flops(&[10, 10]), 2 * flops(&[10]));
    }
}
