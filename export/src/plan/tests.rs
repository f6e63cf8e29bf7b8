//! Costs against sums done by hand, and placements of real shapes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use worldpm_ort_bundle::{
    Device, Precision, Target,
    cost::{Part, Peak},
};

use super::*;
use crate::{
    Checkpoint, ExportOptions, costs,
    error::Error,
    placement,
    synth::{Preset, synth},
};

const GIB: u64 = 1 << 30;

/// A checkpoint of a shape, without weights.
fn checkpoint(place: &tempfile::TempDir, preset: Preset, layers: Option<usize>) -> Checkpoint {
    let dir = place.path().join("checkpoint");
    let mut options = preset.options();
    options.sparse = true;
    if let Some(layers) = layers {
        options.shape.num_hidden_layers = layers;
    }
    synth(&dir, &options).unwrap();
    Checkpoint::open(&dir).unwrap()
}

fn cuda(target: Target) -> ExportOptions {
    ExportOptions {
        device: Device::Cuda,
        target,
        ..ExportOptions::default()
    }
}

/// Rows of 40, 35, 30 and 20 tokens.
const PACK: RunSizes = RunSizes {
    tokens: 100,
    rows: 4,
    columns: 40,
    scored: 5,
    row_squares: 40 * 40 + 35 * 35 + 30 * 30 + 20 * 20,
};

// The shape of `tiny`: hidden size, MLP, width of keys, and of all heads together.
const H: u64 = 256;
const I: u64 = 704;
const KV: u64 = 128;
const VOCAB: u64 = 151_936;

/// Elements of the weights of a layer of `tiny`.
const LAYER: u64 = (H * H + H) + 2 * (KV * H + KV) + H * H + 3 * I * H + 2 * H;
/// Elements of its last norm and head.
const HEAD: u64 = H + (H * H + H) + (H + 1);
/// Bytes of the constant shapes of a layer's five reshapes: of 3, 2, 3, 2 and 2 numbers.
const SHAPES: u64 = 8 * (3 + 2 + 3 + 2 + 2);

#[test]
fn weights_are_those_of_the_files_and_of_the_loaded_model() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&place, Preset::Tiny, None);

    // On CUDA everything stays in 16 bits, except for the head.
    let found = costs(&checkpoint, &cuda(Target::Ort), PACK).unwrap();
    // Besides the embedding: 32 frequencies, and the shapes of three reshapes.
    assert_eq!(found.first.stored, 2 * VOCAB * H);
    assert_eq!(
        found.first.resident,
        2 * VOCAB * H + 4 * 32 + 8 * (2 + 3 + 3)
    );
    assert_eq!(found.layers.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    for part in found.layers.values() {
        assert_eq!(part.stored, 2 * LAYER);
        assert_eq!(part.resident, 2 * LAYER + SHAPES);
    }
    assert_eq!(found.last.stored, 2 * HEAD);
    assert_eq!(found.last.resident, 2 * H + 4 * (HEAD - H));

    // On the CPU all but the embedding becomes floats when it is loaded.
    let found = costs(&checkpoint, &ExportOptions::default(), PACK).unwrap();
    assert_eq!(found.first.stored, 2 * VOCAB * H);
    assert_eq!(
        found.first.resident,
        2 * VOCAB * H + 4 * 32 + 8 * (2 + 3 + 3)
    );
    for part in found.layers.values() {
        assert_eq!(part.stored, 2 * LAYER);
        assert_eq!(part.resident, 4 * LAYER + SHAPES);
    }
    assert_eq!(found.last.resident, 4 * HEAD);

    // Converted weights count as what they become.
    let options = ExportOptions {
        precision: Some(Precision::Fp32),
        ..ExportOptions::default()
    };
    let found = costs(&checkpoint, &options, PACK).unwrap();
    assert_eq!(found.first.stored, 4 * VOCAB * H);
    assert!(found.layers.values().all(|part| part.stored == 4 * LAYER));
}

#[test]
fn work_is_that_of_the_products_and_of_attention() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&place, Preset::Tiny, None);
    let RunSizes {
        tokens,
        scored,
        row_squares,
        ..
    } = PACK;
    let qkv = 2 * tokens * (H * H + 2 * H * KV);
    // The padding of the shorter rows is no work.
    let attention = 2 * row_squares * H;
    let after = |tokens: u64| 2 * tokens * (H * H + 3 * H * I);
    for target in [Target::Ort, Target::Onnx] {
        let found = costs(&checkpoint, &cuda(target), PACK).unwrap();
        assert_eq!(found.first.flops, 0);
        let flops: Vec<u64> = found.layers.values().map(|part| part.flops).collect();
        let whole = qkv + attention + after(tokens);
        assert_eq!(flops, [whole, whole, qkv + attention + after(scored)]);
        assert_eq!(found.last.flops, 2 * scored * (H * H + H));
    }
}

/// Quantised layers do the work of the layers that they stand for, whichever operator does it.
#[test]
fn work_does_not_depend_on_the_precision() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&place, Preset::Tiny, None);
    let work = |precision, target| -> Vec<u64> {
        let options = ExportOptions {
            precision: Some(precision),
            target,
            ..ExportOptions::default()
        };
        let found = costs(&checkpoint, &options, PACK).unwrap();
        found.layers.values().map(|part| part.flops).collect()
    };
    let floats = work(Precision::Fp32, Target::Ort);
    for (precision, target) in [
        (Precision::Int8, Target::Ort),
        (Precision::Int4, Target::Ort),
        (Precision::Int4, Target::Onnx),
        (Precision::W8a8, Target::Ort),
    ] {
        assert_eq!(work(precision, target), floats, "{precision} {target}");
    }
}

#[test]
fn the_peak_is_the_widest_moment() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&place, Preset::Tiny, None);
    let pack = RunSizes { rows: 12, ..PACK };
    let RunSizes {
        tokens,
        rows,
        columns,
        ..
    } = pack;
    let cells = rows * columns;
    let inputs = 8 * (3 * tokens + cells + PACK.scored) + 4 * (rows + 1);
    let tables = 2 * 2 * tokens * 32;

    // In attention: queries, keys and values of all cells, what comes out, and the two caches.
    let found = costs(&checkpoint, &cuda(Target::Ort), pack).unwrap();
    let attention = 2 * cells * (2 * H + 4 * KV);
    let expected = Peak {
        activations: inputs + tables + 2 * tokens * H + attention,
        workspace: 4 * rows * columns * 4,
    };
    assert_eq!(found.layers[&0].peak, expected);
    assert_eq!(found.layers[&1].peak, expected);
    assert_eq!(found.total().peak, expected);

    // Standard attention has no caches; on the CPU it makes two matrices of scores.
    let options = ExportOptions {
        target: Target::Onnx,
        ..ExportOptions::default()
    };
    let found = costs(&checkpoint, &options, pack).unwrap();
    let inputs = inputs - 4 * (rows + 1);
    let attention = 4 * cells * (2 * H + 2 * KV);
    assert_eq!(
        found.layers[&0].peak,
        Peak {
            activations: inputs + 2 * tables + 4 * tokens * H + attention,
            workspace: 2 * 4 * rows * columns * columns * 4,
        }
    );

    // With few cells it is the MLP: the residual, gate, up, the sigmoid and its product.
    let pack = RunSizes {
        rows: 1,
        columns: 1,
        ..PACK
    };
    let found = costs(&checkpoint, &cuda(Target::Ort), pack).unwrap();
    let inputs = 8 * (3 * tokens + 1 + PACK.scored) + 4 * 2;
    assert_eq!(
        found.layers[&0].peak,
        Peak {
            activations: inputs + tables + 2 * tokens * H + 4 * 2 * tokens * I,
            workspace: 0,
        }
    );
}

/// Layers that cost 10 of work and `layer` bytes, between an embedding and a head.
fn model(layers: usize, layer: u64, embedding: u64, head: u64) -> Costs {
    let part = |resident, flops| Part {
        resident,
        flops,
        peak: Peak {
            activations: GIB / 2,
            workspace: 0,
        },
        ..Part::default()
    };
    Costs {
        first: part(embedding, 0),
        layers: (0..layers)
            .map(|number| (number, part(layer, 10)))
            .collect::<BTreeMap<_, _>>(),
        last: part(head, 0),
    }
}

fn auto(costs: &Costs, sizes: &[&str]) -> Result<Vec<(usize, usize)>, Error> {
    let sizes: Vec<Bytes> = sizes.iter().map(|size| size.parse().unwrap()).collect();
    let devices = DeviceMemory::from(sizes);
    let budget = TokenBudget::default();
    let placed = assign_layers(costs, Stages::Auto, Device::Cuda, Some(&devices), budget)?;
    Ok(placed
        .iter()
        .map(|stage| (stage.device, stage.layers.end))
        .collect())
}

#[test]
fn as_few_stages_as_fit() {
    // Besides 13 GiB of weights, every stage has 0.75 GiB of activations (half of one, and half of that for the
    // arena) and 1.5 GiB of workspace.
    let costs = model(10, GIB, 2 * GIB, GIB);
    assert_eq!(auto(&costs, &["15.25GiB"]).unwrap(), [(0, 10)]);
    assert_eq!(auto(&costs, &["15.24GiB"]).unwrap(), [(0, 5), (1, 10)]);
    // Even work puts 5 layers and the embedding on the first,
    assert_eq!(auto(&costs, &["9.25GiB"]).unwrap(), [(0, 5), (1, 10)]);
    // which can hold 4 at most here, and the last no more than 5 and the head.
    assert_eq!(
        auto(&costs, &["8.5GiB"]).unwrap(),
        [(0, 3), (1, 6), (2, 10)]
    );
    // Devices that differ: the larger ones first, in the order in which they are given.
    assert_eq!(
        auto(&costs, &["8GiB", "16GiB", "12GiB"]).unwrap(),
        [(1, 10)]
    );
    assert_eq!(
        auto(&costs, &["6GiB", "12GiB", "10GiB"]).unwrap(),
        [(1, 5), (2, 10)]
    );
    assert_eq!(
        auto(&costs, &["12GiB", "6GiB", "6GiB"]).unwrap(),
        [(0, 5), (1, 8), (2, 10)]
    );
}

#[test]
fn what_does_not_fit_says_how_much_it_is() {
    let costs = model(10, GIB, 2 * GIB, GIB);
    let error = auto(&costs, &["5GiB"]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the model does not fit devices of 5.00 GiB, one for each layer: its weights take 13.00 GiB, the largest layer \
         3.00 GiB of them, and every stage needs 768.00 MiB for activations (at 2048 tokens and 16384 attention cells) \
         and 1.50 GiB of workspace besides; give more or larger devices, a narrower precision, or a smaller token \
         budget"
    );
    let error = auto(&costs, &["8GiB", "9GiB"]).unwrap_err().to_string();
    assert!(
        error.starts_with("the model does not fit devices of 8.00 GiB, 9.00 GiB: "),
        "{error}"
    );

    let place_on = |stages, devices: Option<&DeviceMemory>| {
        assign_layers(
            &costs,
            stages,
            Device::Cuda,
            devices,
            TokenBudget::default(),
        )
        .unwrap_err()
        .to_string()
    };
    let two = DeviceMemory::List(vec![Bytes(16 * GIB); 2]);
    let error = place_on(Stages::Count(3), Some(&two));
    assert!(
        error.contains("does not fit 2 devices (16.00 GiB, 16.00 GiB) for 3 stages"),
        "{error}"
    );
    let small = DeviceMemory::Each(Bytes(GIB));
    let error = place_on(Stages::Count(2), Some(&small));
    assert!(
        error.contains("does not fit 2 devices of 1.00 GiB"),
        "{error}"
    );
    assert!(place_on(Stages::Auto, None).contains("`stages`: is auto, which needs the memory"));
    for stages in [0, 11] {
        let error = place_on(Stages::Count(stages), None);
        assert!(
            error.contains(&format!("{stages} stages; give 1 to 10")),
            "{error}"
        );
    }
}

#[test]
fn a_72b_model_is_placed_by_its_real_bytes() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&place, Preset::Qwen72B, None);
    let gib = |bytes: u64| bytes as f64 / GIB as f64;
    let stages = |size: &str| {
        let options = ExportOptions {
            stages: Stages::Auto,
            device_memory: Some(vec![size.parse().unwrap()].into()),
            ..cuda(Target::Ort)
        };
        placement(&checkpoint, &options).unwrap()
    };
    // 133 GiB of weights.
    for (size, expected) in [
        ("141GB", vec![40, 80]),
        ("80GiB", vec![40, 80]),
        ("80GB", vec![40, 80]),
        ("48GB", vec![20, 40, 60, 80]),
        ("24GB", vec![10, 22, 33, 45, 57, 69, 80]),
    ] {
        let placed = stages(size);
        let ends: Vec<usize> = placed.iter().map(|stage| stage.layers.end).collect();
        assert_eq!(ends, expected, "{size}");
        for stage in &placed {
            let capacity = stage.capacity.unwrap().0;
            assert!(stage.memory.total() <= capacity, "{size}: {stage:?}");
        }
        // The slowest stage is at most 5% above the mean; or, where layers are too coarse for that, as fast as it
        // could be with memory without end.
        let budget = TokenBudget::default().fullest(32_768);
        let costs = costs(&checkpoint, &cuda(Target::Ort), budget).unwrap();
        let slowest = |placed: &[PlacedStage]| {
            let work = placed.iter().map(|stage| {
                let parts = costs.stage_parts(&stage.layers);
                parts.iter().map(|part| part.flops).sum::<u64>()
            });
            let (sum, most) = work.fold((0, 0), |(sum, most), work| (sum + work, work.max(most)));
            (most as f64 / (sum as f64 / placed.len() as f64), most)
        };
        let free = ExportOptions {
            stages: Stages::Count(placed.len()),
            ..cuda(Target::Ort)
        };
        let free = placement(&checkpoint, &free).unwrap();
        let (ratio, work) = slowest(&placed);
        assert!(ratio <= 1.05 || work == slowest(&free).1, "{size}: {ratio}");
        let weights: u64 = placed.iter().map(|stage| stage.memory.weights).sum();
        assert!((gib(weights) - 133.36).abs() < 0.01, "{}", gib(weights));
    }
}
