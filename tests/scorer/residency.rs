//! Stages that are loaded one at a time, models on several devices, and conversations that nobody waits for.

use std::{
    fs,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use worldpm_ort::{
    Conversation, Error, Residency, Scorer, ScorerOptions,
    batch::Budget,
    engine::{EngineError, Observer, StageLoad, StageRun},
};

use crate::support;

const SHAPE: &[&str] = &[
    "--shape",
    "tiny",
    "--num-hidden-layers",
    "5",
    "--hidden-size",
    "256",
    "--intermediate-size",
    "704",
    "--seed",
    "23",
];

fn bundle(flags: &[&str]) -> std::path::PathBuf {
    let flags = [&["--stages", "5", "--end-token", ""], flags].concat();
    support::bundle(SHAPE, &flags)
}

/// A budget whose activations take next to nothing.
fn small() -> ScorerOptions {
    let budget = Budget::default().with_max_tokens(64).with_max_cells(256);
    ScorerOptions::default().with_budget(budget)
}

/// Sequences of many lengths, some with shared beginnings.
fn sequences() -> Vec<Vec<u32>> {
    let sequence = |index: u32| {
        let length = [1, 2, 3, 17, 40, 41, 63, 64, 65, 130][index as usize % 10];
        (0..length)
            .map(|place| (place * 97 + index / 2 * 1009) % 150_000)
            .collect()
    };
    (0..24).map(sequence).collect()
}

fn scores(scorer: &Scorer, sequences: &[Vec<u32>]) -> Vec<f32> {
    let scores = scorer.score_ids(sequences).into_iter();
    scores.map(|score| score.unwrap().score).collect()
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn loaded(&self, load: &StageLoad) {
        assert!(load.started <= load.ended && !load.failed);
        self.0.lock().unwrap().push(format!("load {}", load.stage));
    }

    fn ran(&self, run: &StageRun) {
        self.0.lock().unwrap().push(format!("run {}", run.stage));
    }
}

#[test]
fn streamed_scores_are_those_of_a_loaded_model() {
    let integers_and_floats = ["int8", "--keep", "*.down_proj"];
    let precisions = ["bf16", "fp16", "fp32", "int8", "int4", "w8a8"];
    let all = precisions.iter().map(std::slice::from_ref);
    for precision in all.chain([&integers_and_floats[..]]) {
        for target in ["ort", "onnx"] {
            if (precision, target) == (&["w8a8"], "onnx") {
                continue;
            }
            let flags = [&["--target", target, "--precision"], precision].concat();
            let bundle = bundle(&flags);
            let precision = precision.join(" ");
            let sequences = sequences();
            let loaded =
                Scorer::open(&bundle, &small().with_residency(Residency::Resident)).unwrap();
            let streamed =
                Scorer::open(&bundle, &small().with_residency(Residency::Streamed)).unwrap();
            assert!(streamed.is_streamed() && !loaded.is_streamed());
            let expected = scores(&loaded, &sequences);
            let found = scores(&streamed, &sequences);
            for (expected, found) in expected.iter().zip(&found) {
                let difference = (expected - found).abs();
                assert!(
                    difference < 2e-5,
                    "{precision}, {target}: {expected} and {found}"
                );
            }
            // And they do not depend on what they are computed with.
            for (index, sequence) in sequences.iter().enumerate().step_by(5) {
                let alone = scores(&streamed, std::slice::from_ref(sequence))[0];
                assert_eq!(
                    alone.to_bits(),
                    found[index].to_bits(),
                    "{precision}, {target}: {index}"
                );
            }
        }
    }
}

#[test]
fn every_stage_is_loaded_once_for_a_wave() {
    let log = Arc::new(Log::default());
    let options = small()
        .with_residency(Residency::Streamed)
        .with_observer(Arc::clone(&log) as Arc<dyn Observer>);
    let scorer = Scorer::open(&bundle(&[]), &options).unwrap();
    assert!(
        log.0.lock().unwrap().is_empty(),
        "nothing is loaded before it is needed"
    );
    let sequences = sequences();
    for wave in 1..=2 {
        scores(&scorer, &sequences);
        let counters = scorer.counters();
        assert_eq!(counters.scored, wave * sequences.len() as u64);
        // Token ids were handed in.
        assert!(counters.tokenising.is_zero() && !counters.planning.is_zero());
        assert!(counters.planned.packs as u64 > 2 * wave, "{counters:?}");
        for stage in &counters.stages {
            assert_eq!(stage.loads, wave);
            assert_eq!(stage.packs, counters.planned.packs as u64);
            assert_eq!(stage.tokens, counters.planned.unique_tokens as u64);
        }
    }
    let log = log.0.lock().unwrap();
    let loads: Vec<_> = log
        .iter()
        .filter(|event| event.starts_with("load"))
        .collect();
    assert_eq!(
        loads[..5],
        ["load 0", "load 1", "load 2", "load 3", "load 4"]
    );
}

/// Notes how many processors the thread that loads a stage, or runs it, may use.
#[derive(Debug, Default)]
struct Processors {
    loading: Mutex<Vec<usize>>,
    running: Mutex<Vec<usize>>,
}

impl Processors {
    fn here() -> usize {
        let set = rustix::thread::sched_getaffinity(None).unwrap();
        (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|&core| set.is_set(core))
            .count()
    }
}

impl Observer for Processors {
    fn loaded(&self, _: &StageLoad) {
        self.loading.lock().unwrap().push(Self::here());
    }

    fn ran(&self, _: &StageRun) {
        self.running.lock().unwrap().push(Self::here());
    }
}

#[test]
fn a_streamed_model_has_all_threads_and_loads_on_all_processors() {
    let bundle = bundle(&[]);
    let seen = Arc::new(Processors::default());
    let mut options = small()
        .with_residency(Residency::Streamed)
        .with_devices("cpu,cpu".parse().unwrap())
        .with_observer(Arc::clone(&seen) as Arc<dyn Observer>);
    options.pin_threads = true;
    let scorer = Scorer::open(&bundle, &options).unwrap();
    let plain = small().with_residency(Residency::Streamed);
    let expected = scores(&Scorer::open(&bundle, &plain).unwrap(), &sequences());
    assert_eq!(scores(&scorer, &sequences()), expected);
    let all = Processors::here();
    let loading = seen.loading.lock().unwrap();
    assert_eq!(*loading, [all; 5]);
    let running = seen.running.lock().unwrap();
    assert!(!running.is_empty() && running.iter().all(|&cores| cores == 1));
}

/// With ONNX Runtime's kernels, whose weights are floats: the memory that is expected is the same on every processor.
fn in_floats() -> ScorerOptions {
    let mut options = small();
    options.kernels = false;
    options
}

#[test]
fn what_does_not_fit_is_streamed() {
    let bundle = bundle(&[]);
    let open = |memory| Scorer::open(&bundle, &in_floats().with_memory(memory));
    let loaded = open(1 << 30).unwrap();
    assert!(!loaded.is_streamed(), "{}", loaded.residency_reason());
    // The fixed part of the estimate is 256 MiB; five layers of 3 MiB come on top.
    let streamed = open(270 << 20).unwrap();
    assert!(streamed.is_streamed(), "{}", streamed.residency_reason());
    assert!(
        streamed
            .residency_reason()
            .to_string()
            .contains("of 270.00 MiB of memory"),
        "{}",
        streamed.residency_reason()
    );
    let sequences = sequences();
    let pairs = scores(&loaded, &sequences)
        .into_iter()
        .zip(scores(&streamed, &sequences));
    for (loaded, streamed) in pairs {
        assert!((loaded - streamed).abs() < 2e-5, "{loaded} {streamed}");
    }
    let error = open(200 << 20).err().unwrap().to_string();
    assert!(
        error.contains("option `memory`") && error.contains("streaming takes 26"),
        "{error}"
    );
}

/// What was asked for is kept or refused, with what would do.
#[test]
fn memory_that_cannot_be_kept_is_refused() {
    let synth = [SHAPE, &["--max-position-embeddings", "32768"]].concat();
    let of_stages =
        |stages: &str| support::bundle(&synth, &["--stages", stages, "--end-token", ""]);
    let (one, five) = (of_stages("1"), of_stages("5"));
    for (bundle, residency, memory, says) in [
        (&one, Residency::Auto, 100, "with more stages than 1"),
        (&one, Residency::Resident, 200, "the model takes 27"),
        (&one, Residency::Streamed, 200, "streaming takes"),
        (
            &five,
            Residency::Resident,
            200,
            "let it be streamed, which takes 2",
        ),
        (&five, Residency::Auto, 200, "streaming takes"),
    ] {
        let options = in_floats()
            .with_residency(residency)
            .with_memory(memory << 20);
        let error = Scorer::open(bundle, &options).err().unwrap().to_string();
        assert!(
            error.contains("option `memory`")
                && error.contains(says)
                && error.contains(&format!("there are {memory}.00 MiB")),
            "{residency}, {memory}: {error}"
        );
    }
    // Nothing was asked for.
    assert!(!Scorer::open(&one, &in_floats()).unwrap().is_streamed());
    // A conversation longer than the budget goes alone: memory bounds it.
    let text: Vec<u32> = (0..20_000).map(|i| i * 7 % 150_000).collect();
    let scorer = Scorer::open(&five, &in_floats().with_memory(320 << 20)).unwrap();
    let reason = scorer.residency_reason().to_string();
    let most: usize = reason
        .split_once("conversations of up to ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{reason}"));
    assert!((100..20_000).contains(&most), "{reason}");
    let scores = scorer.score_ids(&[text[..most].to_vec(), text[..=most].to_vec()]);
    assert!(scores[0].is_ok());
    let refused = scores[1].as_ref().err().unwrap().to_string();
    assert!(refused.contains(&most.to_string()), "{refused}");
}

#[test]
fn weights_that_are_gone_fail_their_wave_and_no_other() {
    let bundle = bundle(&["--weights", "copy"]);
    let copy = support::copy_of(&bundle);
    let scorer = Scorer::open(copy.path(), &small().with_residency(Residency::Streamed)).unwrap();
    let sequences = sequences();
    let before = scores(&scorer, &sequences);
    let weights = fs::read_dir(copy.path())
        .unwrap()
        .map(|file| file.unwrap().path());
    let weights: Vec<_> = weights
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    assert!(!weights.is_empty());
    let away = |path: &std::path::Path| path.with_extension("away");
    for path in &weights {
        fs::rename(path, away(path)).unwrap();
    }
    for outcome in scorer.score_ids(&sequences) {
        let error = outcome.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Engine(EngineError::Load { .. }) | Error::WeightsChanged { .. }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("safetensors"), "{error}");
    }
    for path in &weights {
        fs::rename(away(path), path).unwrap();
    }
    assert_eq!(scores(&scorer, &sequences), before);
    let counters = scorer.counters();
    assert_eq!((counters.scored, counters.failed), (48, 24));
}

#[test]
fn devices_and_copies_on_the_cpu_give_the_same_bits() {
    let bundle = bundle(&[]);
    let sequences = sequences();
    let expected = scores(&Scorer::open(&bundle, &small()).unwrap(), &sequences);
    for (devices, replicas) in [("cpu,cpu", 1), ("cpu,cpu", 2), ("cpu,cpu,cpu", 2)] {
        let mut options = small().with_devices(devices.parse().unwrap());
        options.threads = NonZeroUsize::new(3);
        options = options.with_replicas(NonZeroUsize::new(replicas).unwrap());
        options.pin_threads = true;
        let scorer = Scorer::open(&bundle, &options).unwrap();
        assert_eq!(
            scores(&scorer, &sequences),
            expected,
            "{devices}, {replicas}"
        );
        let counters = scorer.counters();
        for stage in &counters.stages {
            assert_eq!(stage.loads, replicas as u64);
            assert_eq!(stage.packs, counters.planned.packs as u64);
        }
    }
    let options = small().with_replicas(NonZeroUsize::new(2).unwrap());
    let error = Scorer::open(&bundle, &options).err().unwrap().to_string();
    assert!(
        error.contains("2 copies of the model need as many devices"),
        "{error}"
    );
}

fn conversations() -> Vec<Conversation> {
    let text = |index: usize| format!("Answer {index}. ").repeat(200 + index);
    (0..12)
        .map(|index| Conversation::exchange("Why?", text(index)))
        .collect()
}

#[test]
fn giving_up_leaves_the_scorer_as_it_was() {
    let scorer = Scorer::open(&bundle(&[]), &ScorerOptions::default()).unwrap();
    let conversations = conversations();
    let expected: Vec<f32> = scorer
        .score(&conversations)
        .into_iter()
        .map(|s| s.unwrap().score)
        .collect();

    let outcomes = scorer.submit(&conversations).wait_for(Duration::ZERO);
    let late = |error: &Error| matches!(error, Error::Engine(EngineError::TimedOut(time)) if time.is_zero());
    assert!(
        outcomes
            .iter()
            .any(|outcome| outcome.as_ref().is_err_and(late))
    );

    let batch = scorer.submit(&conversations);
    batch.cancel();
    let outcomes = batch.wait();
    let cancelled = |error: &Error| matches!(error, Error::Engine(EngineError::Cancelled));
    assert!(
        outcomes
            .iter()
            .any(|outcome| outcome.as_ref().is_err_and(cancelled))
    );
    drop(scorer.submit(&conversations));

    let patient = scorer.submit(&conversations).wait_for(Duration::MAX);
    let patient: Vec<f32> = patient
        .into_iter()
        .map(|outcome| outcome.unwrap().score().unwrap().score)
        .collect();
    assert_eq!(patient, expected);
}
