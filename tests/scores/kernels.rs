//! Our own kernels on the CPU: they stand in the graphs where they should, give ONNX Runtime's scores to rounding, and a
//! conversation's score has the same bits whatever else is in the batch.
//!
//! On a processor without a unit for bfloat16 numbers ONNX Runtime computes on both sides of each comparison.

use std::{fs, path::Path};

use worldpm_ort::{
    MatmulPrecision, Residency, Scorer, ScorerOptions,
    batch::Budget,
    bundle_format::{
        Manifest,
        fused::{DOMAIN, FusedGraph, MLP, MLP_BLOCKS, MLP_F16, MLP_ROWS, Wanted, fuse},
        proto::ModelProto,
    },
};

use crate::support;

const ALL: Wanted = Wanted {
    floats: true,
    attention: true,
};

/// Decoders with everything that a kernel has to know: biases, groups of heads, windows shorter than rows, capped scores,
/// norms of heads, both activations, wide heads.
const DECODERS: [&[&str]; 7] = [
    &["--architecture", "qwen2"],
    &[
        "--architecture",
        "qwen2",
        "--head",
        "one",
        "--hidden-size",
        "320",
        "--num-attention-heads",
        "5",
        "--num-key-value-heads",
        "1",
        "--head-dim",
        "80",
    ],
    &["--architecture", "qwen3"],
    &["--architecture", "llama"],
    &["--architecture", "mistral", "--config", "sliding_window=37"],
    &["--architecture", "gemma2", "--config", "sliding_window=100"],
    &["--architecture", "gemma2", "--head-dim", "256"],
];

fn bundle(decoder: &[&str], flags: &[&str]) -> support::Passing {
    let synth = [
        &[
            "--shape",
            "tiny",
            "--num-hidden-layers",
            "2",
            "--seed",
            "5",
            "--pad-token-id",
            "151643",
        ],
        decoder,
    ]
    .concat();
    let flags = [&["--end-token", ""], flags].concat();
    support::Passing::bundle(&support::checkpoint(&synth), &flags)
}

fn open(bundle: &Path, change: impl FnOnce(&mut ScorerOptions)) -> Scorer {
    let mut options = ScorerOptions::default();
    change(&mut options);
    Scorer::open(bundle, &options).unwrap()
}

/// Whether this processor has a unit for bfloat16 numbers.
fn has_unit() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    false
}

/// The padding token, which ends a conversation.
const END: u32 = 151_643;

/// Answers of many lengths to prompts that they share, from one token to more than a block of everything.
fn sequences() -> Vec<Vec<u32>> {
    let token = |at: u32| (at * 7919 + 3) % 150_000;
    let mut sequences = Vec::new();
    for (prompt, answers) in [
        (0, vec![1, 2, 40]),
        (70, vec![1, 17, 64, 65, 200]),
        (33, vec![31, 600]),
    ] {
        for (number, answer) in answers.into_iter().enumerate() {
            let answer_start = 10_000 * (number as u32 + 1);
            sequences.push(
                (0..prompt)
                    .map(|at| token(prompt * 1000 + at))
                    .chain((0..answer).map(|at| token(answer_start + at)))
                    .chain([END])
                    .collect(),
            );
        }
    }
    sequences
}

fn scores(scorer: &Scorer, sequences: &[Vec<u32>]) -> Vec<f32> {
    let scores = scorer.score_ids(sequences).into_iter();
    scores.map(|score| score.unwrap().score).collect()
}

fn fused(bundle: &Path, wanted: Wanted) -> Vec<FusedGraph> {
    let manifest = Manifest::read(bundle).unwrap();
    manifest
        .stages
        .iter()
        .map(|stage| {
            let path = bundle.join(&stage.graph);
            fuse(
                &fs::read(&path).unwrap(),
                &path,
                manifest.model.head_dim,
                wanted,
            )
            .unwrap()
        })
        .collect()
}

/// Every node reads what was there before it, and nothing is made twice.
fn check_order(graph: &FusedGraph) {
    let model = ModelProto::from_bytes(&graph.bytes, Path::new("graph")).unwrap();
    let graph = model.graph.unwrap();
    let mut known: std::collections::HashSet<String> = graph
        .initializer
        .iter()
        .filter_map(|tensor| tensor.name.clone())
        .chain(graph.input.iter().filter_map(|input| input.name.clone()))
        .collect();
    for node in &graph.node {
        for input in node.input.iter().filter(|name| !name.is_empty()) {
            assert!(known.contains(input), "{input} is read before it is made");
        }
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            assert!(known.insert(output.clone()), "{output} is made twice");
        }
    }
    for output in &graph.output {
        assert!(known.contains(output.name.as_ref().unwrap()));
    }
    assert!(
        model
            .opset_import
            .iter()
            .any(|set| set.domain.as_deref() == Some(DOMAIN))
    );
}

#[test]
fn every_product_and_attention_of_a_decoder_is_replaced() {
    for decoder in DECODERS {
        for flags in [&["--stages", "1"][..], &["--stages", "2"]] {
            let graphs = fused(&bundle(decoder, flags), ALL);
            let sum = |count: fn(&FusedGraph) -> usize| graphs.iter().map(count).sum::<usize>();
            assert_eq!(sum(|graph| graph.attention), 2, "{decoder:?}");
            // Seven linear layers a decoder layer, and those of the head.
            let products = sum(|graph| graph.products);
            let head = if decoder.contains(&"one") || !decoder.contains(&"qwen2") {
                1
            } else {
                2
            };
            assert_eq!(
                (products, sum(|graph| graph.left)),
                (14 + head, 0),
                "{decoder:?}"
            );
            graphs.iter().for_each(check_order);
        }
    }
}

#[test]
fn what_is_wanted_is_replaced_and_other_forms_stay() {
    let plain = bundle(DECODERS[0], &[]);
    let counts = |bundle: &Path, wanted: Wanted| {
        let graphs = fused(bundle, wanted);
        graphs.iter().for_each(check_order);
        let replaced = graphs[0].products + graphs[0].rows;
        (replaced, graphs[0].attention, graphs[0].left)
    };
    let no_floats = Wanted {
        floats: false,
        ..ALL
    };
    let no_attention = Wanted {
        attention: false,
        ..ALL
    };
    assert_eq!(counts(&plain, no_floats), (0, 2, 16));
    assert_eq!(counts(&plain, no_attention), (16, 0, 0));
    // The head of converted weights is in floats.
    for (precision, expected) in [
        (&["fp16"][..], (14, 2, 2)),
        (&["int8"], (14, 2, 2)),
        (&["int4", "--asymmetric"], (14, 2, 2)),
        (&["w8a8"], (14, 2, 2)),
        (&["fp32"], (0, 2, 16)),
    ] {
        let flags = [&["--precision"], precision].concat();
        assert_eq!(
            counts(&bundle(DECODERS[0], &flags), ALL),
            expected,
            "{precision:?}"
        );
    }
    let integers = bundle(DECODERS[0], &["--precision", "w8a8"]);
    assert_eq!(counts(&integers, no_floats), (14, 2, 2));
    let blocks = bundle(DECODERS[0], &["--precision", "int8"]);
    assert_eq!(counts(&blocks, no_floats), (14, 2, 2));
    let standard = bundle(DECODERS[0], &["--target", "onnx"]);
    assert_eq!(counts(&standard, ALL), (16, 0, 0));
}

#[test]
fn the_mlp_of_each_layer_is_one_operator() {
    let forms: [(&[&str], &str); 5] = [
        (&[], MLP),
        (&["--precision", "fp16"], MLP_F16),
        (&["--precision", "int8"], MLP_BLOCKS),
        (&["--precision", "int4", "--asymmetric"], MLP_BLOCKS),
        (&["--precision", "w8a8"], MLP_ROWS),
    ];
    for decoder in DECODERS {
        // Weights of another form change a graph in the same way whatever else is in it.
        let is_plain = decoder == DECODERS[0] || decoder == DECODERS[5];
        let forms = forms.iter().take(if is_plain { forms.len() } else { 1 });
        for &(flags, operator) in forms {
            let graphs = fused(&bundle(decoder, flags), ALL);
            let model = ModelProto::from_bytes(&graphs[0].bytes, Path::new("graph")).unwrap();
            let nodes = model.graph.unwrap().node.into_iter();
            let gated: Vec<String> = nodes
                .filter_map(|node| node.op_type)
                .filter(|name| name.starts_with("Gated"))
                .collect();
            assert_eq!(gated, [operator, operator], "{decoder:?} {flags:?}");
        }
    }
}

/// Most that scores may differ by, in proportion to those beyond 1, at each precision. Rounding each input of a linear
/// layer to 8 bits moves a score by thousandths to hundredths.
const BOUNDS: [(MatmulPrecision, f32); 3] = [
    (MatmulPrecision::Highest, 2e-5),
    (MatmulPrecision::High, 3e-4),
    (MatmulPrecision::Medium, 0.15),
];

#[test]
fn scores_are_those_of_onnx_runtime() {
    let sequences = sequences();
    for decoder in DECODERS {
        let bundle = bundle(decoder, &[]);
        let expected = scores(
            &open(&bundle, |options| options.kernels = false),
            &sequences,
        );
        for (precision, bound) in BOUNDS {
            let got = scores(
                &open(&bundle, |options| options.matmul_precision = precision),
                &sequences,
            );
            for (got, expected) in got.iter().zip(&expected) {
                let off = (got - expected).abs() / expected.abs().max(1.0);
                assert!(
                    off <= bound,
                    "{decoder:?} {precision}: {got} for {expected}"
                );
            }
        }
    }
}

/// Integers become the floats that they stand for, and nothing is rounded: scores are those of the same integers with
/// standard operators, whose weights are made floats at load.
#[test]
fn integers_and_halves_are_not_rounded() {
    let sequences = sequences();
    for precision in [&["int8"][..], &["int4"], &["int8", "--block-size", "128"]] {
        let flags = [&["--precision"], precision].concat();
        let standard = [&flags[..], &["--target", "onnx"]].concat();
        for decoder in [DECODERS[0], DECODERS[5]] {
            let (standard, own) = (bundle(decoder, &standard), bundle(decoder, &flags));
            let expected = scores(
                &open(&standard, |options| options.kernels = false),
                &sequences,
            );
            let scorer = open(&own, |_| ());
            // With AVX-512 alone activations are rounded, and without a unit ONNX Runtime rounds them.
            let bound = match has_unit() && scorer.matmul_precision() == MatmulPrecision::Highest {
                true => 2e-4,
                false => 0.15,
            };
            let got = scores(&scorer, &sequences);
            for (got, expected) in got.iter().zip(&expected) {
                let off = (got - expected).abs() / expected.abs().max(1.0);
                assert!(
                    off <= bound,
                    "{precision:?} {decoder:?}: {got} for {expected}"
                );
            }
            let alone = sequences
                .iter()
                .flat_map(|one| scores(&scorer, std::slice::from_ref(one)));
            assert_eq!(
                alone.collect::<Vec<f32>>(),
                got,
                "{precision:?} {decoder:?}"
            );
        }
    }
    for flags in [
        &["--precision", "fp16"][..],
        &["--precision", "int8", "--asymmetric"],
        &["--precision", "int4", "--asymmetric", "--block-size", "64"],
        &["--precision", "w8a8"],
    ] {
        let bundle = bundle(DECODERS[0], flags);
        let open = |kernels: bool| open(&bundle, |options| options.kernels = kernels);
        let bound = if flags.contains(&"fp16") { 2e-5 } else { 0.15 };
        let both = scores(&open(true), &sequences)
            .into_iter()
            .zip(scores(&open(false), &sequences));
        for (got, expected) in both {
            assert!(
                (got - expected).abs() <= bound * expected.abs().max(1.0),
                "{flags:?}: {got} for {expected}"
            );
        }
    }
}

#[test]
fn a_score_has_the_same_bits_in_any_batch() {
    let sequences = sequences();
    let forms = [
        (&[][..], &MatmulPrecision::ALL[..]),
        (&["--precision", "w8a8"], &[MatmulPrecision::Highest]),
    ];
    for decoder in DECODERS {
        for (weights, precisions) in forms {
            let whole = bundle(decoder, weights);
            let in_stages = bundle(decoder, &[&["--stages", "2"], weights].concat());
            // Vectors multiply floats of 16 bits with medium precision only.
            let high = open(&whole, |options| {
                options.matmul_precision = MatmulPrecision::High
            });
            let is_amx = high.matmul_precision() == MatmulPrecision::High;
            for &precision in precisions {
                let what = format!("{decoder:?} {weights:?} {precision}");
                let scorer = open(&whole, |options| options.matmul_precision = precision);
                let alone: Vec<f32> = sequences
                    .iter()
                    .flat_map(|one| scores(&scorer, std::slice::from_ref(one)))
                    .collect();
                assert_eq!(scores(&scorer, &sequences), alone, "{what}");
                let streamed = open(&in_stages, |options| {
                    options.matmul_precision = precision;
                    options.residency = Residency::Streamed;
                    options.threads = std::num::NonZeroUsize::new(1);
                    options.budget = Budget::default().with_max_tokens(700);
                });
                let found = scores(&streamed, &sequences);
                // ONNX Runtime sums floats in another order where they are streamed.
                let is_exact = !weights.is_empty()
                    || is_amx
                    || has_unit() && precision == MatmulPrecision::Medium;
                for (found, alone) in found.iter().zip(&alone) {
                    let off = (found - alone).abs() / alone.abs().max(1.0);
                    let bound = if is_exact { 0.0 } else { 2e-5 };
                    assert!(off <= bound, "{what} streamed: {found} for {alone}");
                }
            }
        }
    }
}

#[test]
fn the_command_takes_the_options() {
    let bundle = bundle(DECODERS[0], &[]);
    let bundle = bundle.to_str().unwrap();
    let record =
        br#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
    let score = |flags: &[&str]| {
        let args = [&["score", "--model", bundle], flags].concat();
        support::run_with_input(&args, record)
    };
    let value = |flags: &[&str]| {
        let output = score(flags);
        assert!(output.status.success(), "{}", support::stderr(&output));
        support::lines(&output)[0]["score"].as_f64().unwrap()
    };
    let plain = value(&["--cpu-kernels", "onnxruntime"]);
    assert!((value(&[]) - plain).abs() < 2e-5);
    assert!((value(&["--float32-matmul-precision", "medium"]) - plain).abs() < 0.3);
    // What is asked for and cannot be had is said.
    let medium = ["--float32-matmul-precision", "medium"];
    let unused = score(&[&medium[..], &["--cpu-kernels", "onnxruntime"]].concat());
    assert!(support::stderr(&unused).contains("not in medium precision"));
    assert_eq!(support::lines(&unused)[0]["score"].as_f64(), Some(plain));
    // Activations of w8a8 have 8 bits, whatever is asked for.
    let integers = self::bundle(DECODERS[0], &["--precision", "w8a8"]);
    let notes = |flags: &[&str]| {
        let args = ["score", "--model", integers.to_str().unwrap()];
        let args = [&args[..], flags].concat();
        support::stderr(&support::run_with_input(&args, record))
    };
    let note = "not high precision: that is what w8a8 means";
    if has_unit() {
        for (precision, is_said) in [("highest", false), ("high", true), ("medium", false)] {
            let notes = notes(&["--float32-matmul-precision", precision]);
            assert_eq!(notes.contains(note), is_said, "{notes}");
            assert_eq!(notes.contains("note:"), is_said, "{notes}");
        }
    }
    // Without our kernels activations are integers, whose steps large ones make coarse.
    let notes = notes(&["--cpu-kernels", "onnxruntime"]);
    assert!(
        notes.contains("make integers of w8a8's activations"),
        "{notes}"
    );
    let output = score(&["--float32-matmul-precision", "lowest"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(support::stderr(&output).contains("`lowest` is not `highest`, `high` or `medium`"));
}
