#!/usr/bin/env python3
"""Opens exported graphs without this project's runtime: `onnx.checker` on every graph, and the CPU forms run in plain
Python onnxruntime, whose scores must equal what `worldpm-ort score` prints.

    make onnx-check     (or: python tests/onnx_check.py --binary target/debug/worldpm-ort)

Needs onnx, onnxruntime and numpy. Token ids come from the golden files, so no tokenizer is needed.
"""

import argparse
import contextlib
import itertools
import json
import subprocess
import tempfile
import traceback
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/fixtures/scores/two-h64-g1-l1.json"
# They share their prompt and differ in length: this exercises the trie, the padding cells and the scored tokens. Both
# have a system message, so that their token ids are the same for every architecture.
CONVERSATIONS = ["sleep-thoughtful", "sleep-careless"]
LAYERS = 3
TOLERANCE = 1e-5
CHECKPOINTS = {
    "two-layer head, tied, sharded": "--seed 21 --head two --tie-word-embeddings --shard-bytes 20000000",
    "one-layer head, single file": "--seed 22 --head one --single-file",
}


def pack(sequences):
    """The graph inputs for these token sequences: each distinct prefix is one packed token (design: packed tokens)."""
    packed, position, rows = {}, [], []  # packed: (token before, token id) -> packed index
    for sequence in sequences:
        row, before = [], None
        for depth, token in enumerate(sequence):
            before = packed.setdefault((before, token), len(packed))
            if before == len(position):
                position.append(depth)
            row.append(before)
        rows.append(row)
    longest = max(map(len, rows))
    row_tokens = np.zeros((len(rows), longest), np.int64)
    token_cells = np.zeros(len(packed), np.int64)
    for b, row in enumerate(rows):
        row_tokens[b, : len(row)] = row
        token_cells[row] = b * longest + np.arange(len(row))
    return {
        "input_ids": np.array([token for _, token in packed], np.int64),
        "position_ids": np.array(position, np.int64),
        "row_tokens": row_tokens,
        "token_cells": token_cells,
        "score_tokens": np.array([row[-1] for row in rows], np.int64),
        "seqlens_k": np.array([len(row) - 1 for row in rows], np.int32),
        "total_sequence_length": np.array(longest, np.int32),
    }


def open_stage(path, weights):
    """By path when the weights lie beside the graph; else as bytes with the folder of the weights."""
    if weights is None:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def run_stages(graphs, sequences, weights=None):
    values = pack(sequences)
    for path in graphs:
        session = open_stage(path, weights)
        outputs = [output.name for output in session.get_outputs()]
        inputs = {value.name: values[value.name] for value in session.get_inputs()}
        values |= zip(outputs, session.run(outputs, inputs), strict=True)
        values["hidden_states"] = values.get("next_hidden_states")
    return values["scores"][:, 0]


class Check:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        golden = {c["id"]: c for c in json.loads(GOLDEN.read_text())["conversations"]}
        self.sequences = [golden[name]["input_ids"] for name in CONVERSATIONS]
        self.input = folder / "conversations.jsonl"
        self.input.write_text(
            "".join(json.dumps({"id": n, "messages": golden[n]["messages"]}) + "\n" for n in CONVERSATIONS)
        )
        self.exports = itertools.count()

    def command(self, *arguments):
        done = subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, f"worldpm-ort {' '.join(map(str, arguments))}:\n{done.stderr}"
        return done.stdout

    def bundle(self, checkpoint, stages, device, target, weights):
        bundle = self.folder / f"bundle-{next(self.exports)}"
        self.command(
            "export", "--checkpoint", checkpoint, "--out", bundle, "--stages", stages,
            "--device", device, "--target", target, "--weights", weights,
        )  # fmt: skip
        graphs = sorted(bundle.glob("stage-*.onnx"))
        assert len(graphs) == stages, f"{stages} stages asked for, {len(graphs)} graphs written"
        # full_check adds shape inference. It passes over operators of other domains, whose shapes onnx does not know.
        for graph in graphs:
            if weights == "copy":
                onnx.checker.check_model(graph, full_check=True)
            else:
                with contextlib.chdir(checkpoint):  # where onnx looks for the weights of a model given as bytes
                    onnx.checker.check_model(graph.read_bytes(), full_check=True)
        if device == "cuda":
            return  # bf16 matrix products: the CPU provider has none
        ours = [json.loads(line) for line in self.command("score", "--model", bundle, "--input", self.input).splitlines()]
        assert [line["id"] for line in ours] == CONVERSATIONS, ours
        assert [line["tokens"] for line in ours] == [len(s) for s in self.sequences], ours
        ours = np.array([line["score"] for line in ours])
        theirs = run_stages(graphs, self.sequences, None if weights == "copy" else checkpoint)
        assert abs(theirs[0] - theirs[1]) > 100 * TOLERANCE, f"the scores do not differ clearly: {theirs}"
        difference = np.abs(ours - theirs).max()
        # Written so that a NaN fails.
        assert difference <= TOLERANCE, f"worldpm-ort {ours}, Python onnxruntime {theirs}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    binary = str(Path(parser.parse_args().binary).resolve())
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        check = Check(binary, Path(folder))
        for number, (name, flags) in enumerate(CHECKPOINTS.items()):
            checkpoint = Path(folder, f"checkpoint-{number}")
            shape = ["--shape", "tiny", "--num-hidden-layers", LAYERS]
            check.command("synth", "--out", checkpoint, *shape, *flags.split())
            forms = [*itertools.product([1, 2, LAYERS], ["cpu", "cuda"], ["ort", "onnx"], ["copy"])]
            forms += [(2, device, target, "reference") for device in ("cpu", "cuda") for target in ("ort", "onnx")]
            for form in forms:
                label = "{}; {} stages, {}, {}, weights {}".format(name, *form)
                try:
                    check.bundle(checkpoint, *form)
                except Exception:  # one broken form must not hide the others
                    failed += 1
                    print(f"FAILED {label}\n{traceback.format_exc()}")
                else:
                    passed += 1
                    print(f"ok     {label}")
    verdict = "FAILED" if failed else "ok"
    print(f"onnx check: {verdict}. {passed} passed; {failed} failed (onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__})")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
