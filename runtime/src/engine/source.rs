//! The stages of a bundle, loaded on demand.

use std::{collections::BTreeMap, thread, time::Instant};

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
}

/// Loads all stages of all `copies` of a model: those of a device one after the other, and with `at_once` those of
/// different devices at the same time.
pub(crate) fn load_copies(
    copies: &[BundleSource],
    at_once: bool,
    activity: &Activity,
) -> Result<Vec<Vec<SessionStage>>, EngineError> {
    let mut devices: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
    for (replica, copy) in copies.iter().enumerate() {
        for (stage, setup) in copy.setups.iter().enumerate() {
            let device = match at_once {
                true => setup.provider.to_string(),
                false => String::new(),
            };
            devices.entry(device).or_default().push((replica, stage));
        }
    }
    let load = |(replica, stage): (usize, usize)| {
        let started = Instant::now();
        let loaded = copies[replica].load(stage);
        activity.loaded(&StageLoad {
            stage,
            replica,
            started,
            ended: Instant::now(),
            failed: loaded.is_err(),
        });
        Ok(((replica, stage), loaded?))
    };
    type Loaded = ((usize, usize), SessionStage);
    let one_by_one = |stages: Vec<(usize, usize)>| -> Result<Vec<Loaded>, EngineError> {
        stages.into_iter().map(load).collect()
    };
    let mut loaded = Vec::new();
    thread::scope(|scope| {
        let one_by_one = &one_by_one;
        let loads: Vec<_> = devices
            .into_values()
            .map(|stages| scope.spawn(move || one_by_one(stages)))
            .collect();
        let panicked = |_| Err(EngineError::Stopped("loading a stage panicked".into()));
        for load in loads {
            loaded.extend(load.join().unwrap_or_else(panicked)?);
        }
        Ok::<(), EngineError>(())
    })?;
    loaded.sort_by_key(|(place, _)| *place);
    let mut stages: Vec<Vec<SessionStage>> = copies.iter().map(|_| Vec::new()).collect();
    for ((replica, _), stage) in loaded {
        stages[replica].push(stage);
    }
    Ok(stages)
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
