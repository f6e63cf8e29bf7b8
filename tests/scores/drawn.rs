//! Invariance of models that are drawn at random: every shape, precision and residency.

use std::{num::NonZeroUsize, path::Path};

use proptest::prelude::*;
use worldpm_ort::{Residency, Scorer, batch::Budget};

use crate::{
    invariance::{KERNELS, bits, edges, options},
    support,
};

/// A model that is drawn: what `synth` and `export` are given.
#[derive(Clone, Debug)]
struct Drawn {
    synth: Vec<String>,
    precision: &'static str,
    threads: usize,
}

/// Shapes with narrow projections among them: 32 columns of keys and values, and hidden sizes from 64.
fn drawn() -> impl Strategy<Value = Drawn> {
    const ARCHITECTURES: [&str; 5] = ["qwen2", "qwen3", "llama", "mistral", "gemma2"];
    const PRECISIONS: [&str; 7] = ["bf16", "bf16", "fp16", "fp32", "int8", "int4", "w8a8"];
    (
        prop::sample::select(&ARCHITECTURES[..]),
        prop::sample::select(&[64_usize, 128, 256, 512][..]),
        prop::sample::select(&[32_usize, 64, 128][..]),
        (1_usize..3, 1_usize..3),
        prop::sample::select(&[96_usize, 160, 512, 704][..]),
        prop::sample::select(&PRECISIONS[..]),
        prop::sample::select(&[1_usize, 2, 3, 4, 8, 16][..]),
        0_u32..1000,
    )
        .prop_map(
            |(architecture, hidden, head, (groups, queries), width, precision, threads, seed)| {
                let heads = groups * queries;
                let numbers = [
                    ("--hidden-size", hidden),
                    ("--intermediate-size", width),
                    ("--num-attention-heads", heads),
                    ("--num-key-value-heads", groups),
                    ("--head-dim", head),
                    ("--num-hidden-layers", 2),
                    ("--seed", seed as usize),
                ];
                let mut synth = vec!["--architecture".to_owned(), architecture.to_owned()];
                for (name, number) in numbers {
                    synth.extend([name.to_owned(), number.to_string()]);
                }
                // The head of one matrix exists for all of them.
                synth.extend(["--head", "one", "--pad-token-id", "151643"].map(String::from));
                Drawn {
                    synth,
                    precision,
                    threads,
                }
            },
        )
}

fn check_drawn(model: &Drawn) -> Result<(), TestCaseError> {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (checkpoint, bundle) = (path("checkpoint"), path("bundle"));
    let mut synth = vec!["synth", "--out", &checkpoint];
    synth.extend(model.synth.iter().map(String::as_str));
    support::run_ok(&synth);
    let export = ["export", "--checkpoint", &checkpoint, "--out", &bundle];
    let form = [
        "--stages",
        "2",
        "--probes",
        "off",
        "--end-token",
        "",
        "--precision",
    ];
    support::run_ok(&[&export[..], &form, &[model.precision]].concat());
    let mut sequences = edges();
    sequences.retain(|sequence| sequence.len() <= 257);
    for kernels in KERNELS {
        check_residencies(bundle.as_ref(), model, &sequences, kernels)?;
    }
    Ok(())
}

/// Streamed and resident, a sequence has the same bits whatever else is in the batch.
fn check_residencies(
    bundle: &Path,
    model: &Drawn,
    sequences: &[Vec<u32>],
    kernels: bool,
) -> Result<(), TestCaseError> {
    let mut resident = None;
    for residency in [Residency::Resident, Residency::Streamed] {
        let options = options(Budget::default(), kernels)
            .with_residency(residency)
            .with_threads(NonZeroUsize::new(model.threads).unwrap());
        let scorer = Scorer::open(bundle, &options).unwrap();
        let together = bits(&scorer, sequences);
        for chosen in [
            &[0, 6, 20][..],
            &[1],
            &[3, 3],
            &[9, 10, 27],
            &[30, 31],
            &[22],
        ] {
            let company: Vec<Vec<u32>> = chosen.iter().map(|&i| sequences[i].clone()).collect();
            let expected: Vec<u32> = chosen.iter().map(|&i| together[i]).collect();
            let found = bits(&scorer, &company);
            prop_assert_eq!(found, expected, "{}, {:?}", residency, chosen);
        }
        // What is not floats of 16 bits is packed whether it is streamed or not.
        let same = !matches!(model.precision, "bf16" | "fp16");
        match &resident {
            None => resident = Some(together),
            Some(resident) if same => prop_assert_eq!(resident, &together),
            Some(_) => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_on_any_threads_loaded_and_streamed(model in drawn()) {
        check_drawn(&model)?;
    }
}

/// Shapes whose streamed scores depended on their company while no weight was packed.
#[test]
fn narrow_projections_on_several_threads() {
    for (architecture, groups, threads) in [("qwen2", 1, 2), ("llama", 2, 2), ("gemma2", 2, 4)] {
        let groups = groups.to_string();
        let numbers = [
            "--architecture",
            architecture,
            "--hidden-size",
            "512",
            "--head-dim",
            "64",
            "--num-attention-heads",
            "4",
            "--num-key-value-heads",
            &groups,
            "--intermediate-size",
            "704",
            "--num-hidden-layers",
            "2",
            "--head",
            "one",
            "--pad-token-id",
            "151643",
        ];
        let synth = numbers.map(String::from).to_vec();
        let model = Drawn {
            synth,
            precision: "bf16",
            threads,
        };
        check_drawn(&model).unwrap();
    }
}
