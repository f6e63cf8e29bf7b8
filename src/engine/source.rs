//! The stages of a bundle, loaded on demand.

use std::{sync::Arc, thread, time::Instant};

use super::{Activity, EngineError, OnnxRuntime, SessionStage, StageLoad, StageSetup, StageSource};

/// What the stages of a bundle are loaded from.
pub(crate) struct BundleSource {
    runtime: OnnxRuntime,
    setups: Vec<StageSetup>,
}

impl BundleSource {
    pub(crate) fn new(runtime: OnnxRuntime, setups: Vec<StageSetup>) -> Self {
        Self { runtime, setups }
    }

    /// Loads all stages, those on different devices at the same time. `replica` is which copy of the model they are.
    pub(crate) fn load_all(
        &self,
        replica: usize,
        at_once: bool,
        activity: &Arc<Activity>,
    ) -> Result<Vec<SessionStage>, EngineError> {
        let load = |stage: usize| {
            let started = Instant::now();
            let loaded = self.load(stage);
            activity.loaded(&StageLoad {
                stage,
                replica,
                started,
                ended: Instant::now(),
                failed: loaded.is_err(),
            });
            loaded
        };
        if !at_once {
            return (0..self.stages()).map(load).collect();
        }
        thread::scope(|scope| {
            let load = &load;
            let loads: Vec<_> = (0..self.stages())
                .map(|stage| scope.spawn(move || load(stage)))
                .collect();
            let panicked = |_| Err(EngineError::Stopped("loading a stage panicked".into()));
            loads
                .into_iter()
                .map(|load| load.join().unwrap_or_else(panicked))
                .collect()
        })
    }
}

impl StageSource for BundleSource {
    type Stage = SessionStage;

    fn stages(&self) -> usize {
        self.setups.len()
    }

    fn load(&self, index: usize) -> Result<SessionStage, EngineError> {
        let Some(setup) = self.setups.get(index) else {
            return Err(EngineError::Stopped(format!("there is no stage {index}")));
        };
        SessionStage::load(&self.runtime, setup.clone())
    }
}
