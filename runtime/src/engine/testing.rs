//! The engine's own pipeline over devices that only pass the time: for `benches/pipeline.rs`. No part of the interface.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    Activity, Engine, EngineError, Failure, Flow, Observer, Pending, Pipeline, Stage, StageRun,
    Watch,
};
use crate::batch::PackInputs;

/// A device that takes so long for each pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedStage {
    /// Copying the hidden states to it, which the stage that receives them does before it computes.
    pub copy: Duration,
    /// Computing.
    pub compute: Duration,
}

impl SimulatedStage {
    /// The time that a pack keeps the device.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.copy + self.compute
    }
}

/// A simulated stage at its place.
struct Simulated {
    stage: SimulatedStage,
    last: bool,
}

impl Stage for Simulated {
    /// Which pack it is.
    type Hidden = i64;

    fn run(
        &mut self,
        inputs: &Arc<PackInputs>,
        hidden: Option<i64>,
        _: &dyn Watch,
    ) -> Result<Flow<i64>, Failure> {
        if hidden.is_some() {
            thread::sleep(self.stage.copy);
        }
        thread::sleep(self.stage.compute);
        match (inputs.input_ids.first(), hidden) {
            (Some(&pack), before) if before.is_none_or(|before| before == pack) => {
                Ok(match self.last {
                    true => Flow::Scores(vec![0.0]),
                    false => Flow::Hidden(pack),
                })
            }
            _ => Err(EngineError::Stopped("hidden states of another pack came".into()).into()),
        }
    }

    fn name(&self) -> String {
        "a simulated stage".into()
    }
}

/// Keeps when each stage ran each pack.
#[derive(Debug, Default)]
struct Runs(Mutex<Vec<StageRun>>);

impl Observer for Runs {
    fn ran(&self, run: &StageRun) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(*run);
    }
}

/// Sends `packs` packs through a pipeline of `stages`, and returns when each left the last one, in order.
///
/// # Errors
/// What the pipeline came to, which is a fault of its own.
pub fn simulate(stages: &[SimulatedStage], packs: usize) -> Result<Vec<Instant>, EngineError> {
    let runs = Arc::new(Runs::default());
    let activity = Activity::new(stages.len(), Some(Arc::clone(&runs) as Arc<_>));
    let last = stages.len().saturating_sub(1);
    let stages = stages.iter().enumerate().map(|(index, &stage)| Simulated {
        stage,
        last: index == last,
    });
    let pipeline = Pipeline::start(vec![stages.collect()], &Arc::new(activity))?;
    let inputs = (0..packs).map(|pack| PackInputs {
        input_ids: vec![pack as i64],
        ..PackInputs::default()
    });
    let (packs, pending): (_, Vec<_>) = inputs.map(Pending::new).unzip();
    pipeline.submit(packs);
    for pending in pending {
        pending.wait()?;
    }
    drop(pipeline);
    let runs = runs.0.lock().unwrap_or_else(PoisonError::into_inner);
    let ends = runs.iter().filter(|run| run.stage == last);
    Ok(ends.map(|run| run.ended).collect())
}
