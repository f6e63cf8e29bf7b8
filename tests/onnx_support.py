"""What the checks of exported graphs in plain Python onnxruntime share."""

import json
import subprocess
import traceback
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent
# Golden conversations with their token ids: checkpoints of Qwen2 have WorldPM's chat template, others a plain one.
GOLDENS = {True: "two-h64-g1-l1", False: "qwen3-h64-l3"}
# They share their prompt and differ in length: this exercises the trie, the padding cells and the scored tokens. Both
# have a system message, so that their token ids are the same for every architecture.
CONVERSATIONS = ["sleep-thoughtful", "sleep-careless"]
LAYERS = 3
TOLERANCE = 1e-5
CHECKPOINTS = {
    "two-layer head, tied, sharded": "--seed 21 --head two --tie-word-embeddings --shard-bytes 20000000",
    "one-layer head, single file": "--seed 22 --head one --single-file",
    # Windows that conversations outgrow, capped scores, norms and embeddings of another kind.
    "Gemma 2": "--seed 23 --architecture gemma2 --hidden-size 64 --intermediate-size 128 --pad-token-id 151643 "
    "--config sliding_window=9 --config attn_logit_softcapping=2.0 --config query_pre_attn_scalar=4",
    "Qwen3 with windows": "--seed 24 --architecture qwen3 --hidden-size 64 --intermediate-size 128 --head-dim 32 "
    "--config use_sliding_window=true --config sliding_window=9 --config max_window_layers=1",
}


def pack(sequences, scored=lambda sequence: [len(sequence) - 1]):
    """The graph inputs for these token sequences: each distinct prefix is one packed token (design: packed tokens).

    `scored` says at which positions a sequence is scored.
    """
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
        "score_tokens": np.array(
            [row[i] for row, sequence in zip(rows, sequences, strict=True) for i in scored(sequence)], np.int64
        ),
        "seqlens_k": np.array([len(row) - 1 for row in rows], np.int32),
        "total_sequence_length": np.array(longest, np.int32),
    }


def open_stage(path, weights=None):
    """By path when the weights lie beside the graph; else as bytes with the folder of the weights."""
    if weights is None:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def run_stages(stages, inputs):
    """The scores `[rows, labels]` that sessions of all stages give for these graph inputs."""
    values = dict(inputs)
    for session in stages:
        outputs = [output.name for output in session.get_outputs()]
        wanted = {value.name: values[value.name] for value in session.get_inputs()}
        values |= zip(outputs, session.run(outputs, wanted), strict=True)
        values["hidden_states"] = values.get("next_hidden_states")
    return values["scores"]


class Command:
    """The worldpm-ort command, and the golden conversations as its input."""

    def __init__(self, binary, folder):
        self.binary = str(Path(binary).resolve())
        self.folder = Path(folder)
        self.goldens = {}
        for qwen2, name in GOLDENS.items():
            golden = json.loads((ROOT / f"tests/fixtures/scores/{name}.json").read_text())
            self.goldens[qwen2] = {case["id"]: case for case in golden["conversations"]}
        self.sequences = [self.goldens[True][name]["input_ids"] for name in CONVERSATIONS]
        messages = [{"id": name, "messages": self.goldens[True][name]["messages"]} for name in CONVERSATIONS]
        self.input = self.folder / "conversations.jsonl"
        self.input.write_text("".join(json.dumps(record) + "\n" for record in messages))

    def __call__(self, *arguments):
        done = subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, f"worldpm-ort {' '.join(map(str, arguments))}:\n{done.stderr}"
        return done.stdout

    def checkpoint(self, flags):
        """A tiny checkpoint, made once for the same flags."""
        out = self.folder / f"checkpoint {flags}"
        if not out.exists():
            shape = ["--shape", "tiny", "--num-hidden-layers", LAYERS]
            self("synth", "--out", out, *shape, *flags.split())
        return out

    def sequences_of(self, checkpoint):
        """The conversations' token ids, as the checkpoint's template makes them."""
        qwen2 = json.loads((checkpoint / "config.json").read_text())["model_type"] == "qwen2"
        return [self.goldens[qwen2][name]["input_ids"] for name in CONVERSATIONS]

    def scores(self, bundle, sequences=None):
        """What `worldpm-ort score` gives the conversations, as the 32-bit floats that it prints."""
        # By the kernels of ONNX Runtime, which compute in Python too.
        score = self("score", "--only-scores", "--model", bundle, "--input", self.input, "--cpu-kernels", "onnxruntime")
        lines = [json.loads(line) for line in score.splitlines()]
        assert [line["id"] for line in lines] == CONVERSATIONS, lines
        assert [line["tokens"] for line in lines] == [len(s) for s in sequences or self.sequences], lines
        return np.array([line["score"] for line in lines], np.float32)


class Report:
    """Runs checks one by one: a broken one must not hide the others."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0

    def check(self, label, work, *arguments):
        try:
            work(*arguments)
        except Exception:
            self.failed += 1
            print(f"FAILED {label}\n{traceback.format_exc()}")
        else:
            self.passed += 1
            print(f"ok     {label}")

    def finish(self):
        verdict = "FAILED" if self.failed or not self.passed else "ok"
        versions = f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"
        print(f"{self.name} check: {verdict}. {self.passed} passed; {self.failed} failed ({versions})")
        raise SystemExit(verdict != "ok")
