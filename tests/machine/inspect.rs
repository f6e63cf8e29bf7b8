//! The `inspect` command.

use crate::{
    planned::{SHAPE, json, squeezed, stages, text},
    support::{self, run, stderr},
};

#[test]
fn inspect_tells_what_there_is() {
    let checkpoint = support::checkpoint(SHAPE);
    let printed = squeezed(&text(&["inspect", checkpoint.to_str().unwrap()]));
    assert!(
        printed.contains("Qwen2ForRewardModel: 3 layers of width 256, MLP 704"),
        "{printed}"
    );
    assert!(
        printed.contains("\nmodel.layers.*.mlp.up_proj.weight 0 to 2 BF16 [704, 256] 1081344"),
        "{printed}"
    );

    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("bundle");
    stages(&out, &["--stages", "2", "--device", "cuda"]);
    let bundle = out.to_str().unwrap();
    let printed = squeezed(&text(&["inspect", bundle]));
    assert!(
        printed.contains("bf16 for cuda, target ort, interface packed"),
        "{printed}"
    );
    assert!(
        printed.contains("\ncom.microsoft.GroupQueryAttention bfloat16 2 device"),
        "{printed}"
    );
    assert!(
        printed.contains("read on the host: Reshape.shape (constant)"),
        "{printed}"
    );
    assert!(!printed.contains("NOT READY"), "{printed}");
    let nodes = squeezed(&text(&["inspect", bundle, "--nodes"]));
    assert!(
        nodes.contains("\nlayers.0/mlp/up_proj Gemm bfloat16 device"),
        "{nodes}"
    );

    let found = json(&["inspect", bundle, "--json", "--nodes"]);
    assert_eq!(found["kind"], "bundle");
    let stage = &found["stages"][0];
    assert_eq!(
        stage["nodes"].as_array().unwrap().len() as u64,
        stage["device_nodes"].as_u64().unwrap()
    );
    assert_eq!(stage["violations"], serde_json::json!([]));
    assert_eq!(
        json(&["inspect", checkpoint.to_str().unwrap(), "--json"])["kind"],
        "checkpoint"
    );

    // A bundle that has changed is told whole, and the status says that it is not as it should be.
    std::fs::remove_file(out.join("tokenizer.json")).unwrap();
    let output = run(&["inspect", bundle]);
    assert_eq!(output.status.code(), Some(1));
    let printed = squeezed(&String::from_utf8(output.stdout).unwrap());
    assert!(
        printed.contains("\ntokenizer.json text MISSING"),
        "{printed}"
    );
    let output = run(&["inspect", place.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&format!("name the one that is meant: {bundle}")),
        "{}",
        stderr(&output)
    );
}
