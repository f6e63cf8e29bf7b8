//! A model under measurement.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use worldpm_ort_bundle::Pooling;

use super::{
    BenchError, BenchOptions, MatrixReport, MemoryReport, ModelReport, OperatorReport, Report,
    RoundReport, SetupReport, Workload, WorkloadReport, WorkloadSpec,
    arithmetic::{self, Matrices},
    latency,
    memory::Memory,
    profile,
    record::{Phase, Recorder},
    rounds::{self, Round},
    timeline,
    work::Work,
    workload::Limits,
};
use crate::{Bundle, Error, Scorer, ScorerOptions, engine::OnnxRuntime, ep::Provider};

/// A model that is loaded for a benchmark, and what has happened to it.
pub struct Bench {
    scorer: Scorer,
    recorder: Arc<Recorder>,
    bundle: Bundle,
    runtime: OnnxRuntime,
    options: ScorerOptions,
    opened: Instant,
    load_seconds: f64,
    memory: Memory,
}

/// The rounds that count.
struct Measured {
    rounds: Vec<(Phase, Round)>,
    matrix: MatrixReport,
    memory: MemoryReport,
    /// Seconds of tokenising and of planning.
    steps: [f64; 2],
}

impl Bench {
    /// Opens a bundle. The benchmark observes the stages: an observer of `options` is not called.
    ///
    /// # Errors
    /// As [`Scorer::open`].
    pub fn open(directory: &Path, options: ScorerOptions) -> Result<Self, BenchError> {
        let bundle = Bundle::open(directory, options.weights_dir.as_deref())?;
        let memory = Memory::watch(bundle.manifest().device);
        let recorder = Arc::new(Recorder::default());
        let options = options.with_observer(Arc::clone(&recorder) as Arc<_>);
        let opened = Instant::now();
        let (phase, scorer) = recorder.phase("load", || Scorer::open(directory, &options));
        let scorer = scorer?;
        let library = options.ort_library.as_deref();
        Ok(Self {
            bundle,
            runtime: OnnxRuntime::load(library, options.threads).map_err(Error::from)?,
            scorer,
            recorder,
            options,
            opened,
            load_seconds: phase.seconds(),
            memory,
        })
    }

    /// The model, as it was loaded.
    #[must_use]
    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// Makes text to score, of lengths that the model takes.
    ///
    /// # Errors
    /// [`BenchError::TooLong`] for tokens that it does not take.
    pub fn workload(&self, spec: &WorkloadSpec) -> Result<Workload, BenchError> {
        let manifest = self.scorer.manifest();
        let limit = self.options.max_length.unwrap_or(usize::MAX);
        let pooling = self.options.pooling.unwrap_or(manifest.pooling);
        spec.make(Limits {
            max_tokens: manifest.max_length.min(limit),
            steps: matches!(pooling, Pooling::EachToken { .. }),
        })
    }

    /// Measures, in this order: rounds of the whole workload, with the rate of matrix products behind each; the
    /// latency of single conversations; and their latency under load.
    ///
    /// # Errors
    /// Whatever the devices come to, and a round in which nothing can be scored. Single conversations that cannot be
    /// scored are counted.
    pub fn run(&self, workload: &Workload, options: &BenchOptions) -> Result<Report, BenchError> {
        if workload.conversations().next().is_none() {
            return Err(BenchError::Empty);
        }
        let Measured {
            rounds: measured,
            matrix,
            memory,
            steps,
        } = self.measure(workload, options)?;
        let latency = latency::measure(&self.scorer, &self.recorder, workload, options);

        let mut work = Work::read(&self.bundle)?;
        let events = self.recorder.events();
        let phases: Vec<_> = measured.iter().map(|(phase, _)| phase.clone()).collect();
        let stages = rounds::stages(&events, &phases, &self.devices(), &mut work)?;
        let rounds: Vec<RoundReport> = measured
            .iter()
            .map(|(phase, round)| round.report(phase.seconds()))
            .collect();
        let flops: u64 = stages.iter().map(|stage| stage.flops).sum();
        let seconds: f64 = phases.iter().map(Phase::seconds).sum();
        Ok(Report {
            model: self.model(),
            setup: self.setup(),
            workload: WorkloadReport {
                name: workload.name.clone(),
                records: workload.records.len(),
                conversations: workload.conversations().count(),
            },
            load: rounds::loads(&events, self.load_seconds),
            throughput: rounds::throughput(rounds),
            latency,
            steps: rounds::steps(steps, seconds),
            stages,
            utilisation: arithmetic::utilisation(flops, seconds, matrix),
            memory,
            operators: Vec::new(),
        })
    }

    /// Runs the rounds, the first of them for nothing, with matrix products behind the others.
    fn measure(&self, workload: &Workload, options: &BenchOptions) -> Result<Measured, BenchError> {
        let round = |name: String| {
            self.recorder
                .phase(&name, || rounds::run(&self.scorer, workload))
        };
        for number in 1..=options.warmup {
            round(format!("warm-up {number}")).1?;
        }
        let before = self.steps();
        let begun = Instant::now();
        let (phase, first) = round("round 1".into());
        let mut measured = vec![(phase, first?)];
        // Before there are matrices.
        let memory = self.memory.report(self.scorer.providers());
        let mut matrices = self.matrices()?;
        loop {
            self.recorder
                .phase("matrix products", || matrices.measure())
                .1?;
            let enough = options.at_least.is_none_or(|time| begun.elapsed() >= time);
            if enough && measured.len() >= options.rounds.get() {
                break;
            }
            let (phase, next) = round(format!("round {}", measured.len() + 1));
            measured.push((phase, next?));
        }
        let [tokenising, planning] = self.steps();
        Ok(Measured {
            steps: [tokenising - before[0], planning - before[1]],
            rounds: measured,
            matrix: matrices.report(),
            memory,
        })
    }

    /// All that has happened so far, for chrome://tracing and <https://ui.perfetto.dev>: a JSON object in the *Trace
    /// Event Format*, with a track for each stage and a slice for each pack.
    #[must_use]
    pub fn timeline(&self) -> serde_json::Value {
        let name = self.scorer.manifest().model.architecture.as_str();
        timeline::timeline(name, self.opened, &self.recorder.events(), &self.devices())
    }

    /// Which operators the time went to, over all that the benchmark has run. The model is dropped for it: ONNX Runtime
    /// writes its profile then.
    ///
    /// # Errors
    /// [`BenchError::Profile`] when [`ScorerOptions::profile`] names no folder, or its files cannot be read.
    pub fn into_profile(self) -> Result<Vec<OperatorReport>, BenchError> {
        let Some(folder) = self.options.profile else {
            return Err(BenchError::Profile {
                path: PathBuf::new(),
                problem: "none was asked for; set the option `profile`".into(),
            });
        };
        drop(self.scorer);
        profile::read(&folder)
    }

    /// Seconds of tokenising and of planning so far.
    fn steps(&self) -> [f64; 2] {
        let counters = self.scorer.counters();
        [counters.tokenising, counters.planning].map(|time| time.as_secs_f64())
    }

    /// The device of each stage, for each copy of the model.
    fn devices(&self) -> Vec<Vec<String>> {
        let copy = |copy: &Vec<Provider>| copy.iter().map(ToString::to_string).collect();
        self.scorer.providers().iter().map(copy).collect()
    }

    fn matrices(&self) -> Result<Matrices, BenchError> {
        let manifest = self.scorer.manifest();
        let rows = self.options.budget.max_tokens;
        Ok(Matrices::open(
            &self.runtime,
            self.scorer.providers(),
            manifest,
            rows,
        )?)
    }

    fn model(&self) -> ModelReport {
        let manifest = self.scorer.manifest();
        ModelReport {
            architecture: manifest.model.architecture.clone(),
            precision: manifest.precision.to_string(),
            layers: manifest.model.num_hidden_layers,
            stages: manifest.stages.len(),
        }
    }

    fn setup(&self) -> SetupReport {
        let threads = self.options.threads.unwrap_or(self.runtime.threads());
        SetupReport {
            devices: self.devices().into_iter().next().unwrap_or_default(),
            replicas: self.scorer.providers().len(),
            threads: threads.get(),
            ort_version: self.runtime.version().to_owned(),
            streamed: self.scorer.is_streamed(),
            max_tokens: self.options.budget.max_tokens,
        }
    }
}
