#!/usr/bin/env python3
"""Reward heads with several outputs in plain Python onnxruntime: several labels, and a reward for each step. What the
graphs give, read as the manifest says, must equal what `worldpm-ort score` prints.

    make onnx-check     (or: python tests/heads_check.py --binary target/debug/worldpm-ort)
"""

import argparse
import itertools
import json
import tempfile

import numpy as np
import onnx
from onnx_support import ROOT, TOLERANCE, Command, Report, open_stage, pack, run_stages

STEPS = ROOT / "tests/fixtures/steps/process-h64-g2-l3.json"
LABELS = ["helpfulness", "correctness", "verbosity"]


class Check:
    def __init__(self, command):
        self.command = command
        self.exports = itertools.count()
        golden = json.loads(STEPS.read_text())["conversations"]
        self.step_sequences = [conversation["input_ids"] for conversation in golden]
        self.step_input = command.folder / "steps.jsonl"
        self.step_input.write_text("".join(json.dumps({"messages": c["messages"]}) + "\n" for c in golden))

    def export(self, flags, stages, device, target):
        """The bundle's manifest, its path, and its stages opened where the CPU can run them."""
        bundle = self.command.folder / f"heads-{next(self.exports)}"
        self.command(
            "export", "--checkpoint", self.command.checkpoint(flags), "--out", bundle, "--stages", stages,
            "--device", device, "--target", target, "--weights", "copy",
        )  # fmt: skip
        graphs = sorted(bundle.glob("stage-*.onnx"))
        for graph in graphs:
            onnx.checker.check_model(graph, full_check=True)
        sessions = [] if device == "cuda" else [open_stage(graph) for graph in graphs]
        return json.loads((bundle / "manifest.json").read_text()), bundle, sessions

    def lines(self, bundle, source):
        return [json.loads(line) for line in self.command("score", "--only-scores", "--model", bundle, "--input", source).splitlines()]

    def labels(self, *form):
        flags = f"--seed 23 --head one --labels {','.join(LABELS)} --single-file"
        manifest, bundle, sessions = self.export(flags, *form)
        assert manifest["model"]["labels"] == LABELS, manifest["model"]
        if not sessions:
            return
        ours = [line["scores"] for line in self.lines(bundle, self.command.input)]
        scores = run_stages(sessions, pack(self.command.sequences))
        for line, row in zip(ours, scores, strict=True):
            equal(line, dict(zip(manifest["model"]["labels"], row.tolist(), strict=True)))

    def steps(self, *form):
        manifest, bundle, sessions = self.export("--seed 24 --head process --single-file", *form)
        pooling, activation = manifest["pooling"], manifest["activation"]
        assert pooling["rule"] == "each_token" and activation["function"] == "softmax", manifest
        if not sessions:
            return

        def scored(sequence):
            return [i for i, token in enumerate(sequence) if token == pooling["token_id"]]

        logits = run_stages(sessions, pack(self.step_sequences, scored)).astype(np.float64)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        rewards = iter((weights / weights.sum(axis=1, keepdims=True))[:, activation["label"]].tolist())
        for line, sequence in zip(self.lines(bundle, self.step_input), self.step_sequences, strict=True):
            assert line["tokens"] == len(sequence), line
            equal(dict(enumerate(line["steps"])), dict(enumerate(itertools.islice(rewards, len(scored(sequence))))))
        assert not list(rewards), "more rewards than steps"


def equal(ours, theirs):
    assert ours.keys() == theirs.keys(), f"worldpm-ort {ours}, Python onnxruntime {theirs}"
    difference = max(abs(ours[name] - theirs[name]) for name in ours)
    # Written so that a NaN fails.
    assert difference <= TOLERANCE, f"worldpm-ort {ours}, Python onnxruntime {theirs}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    arguments = parser.parse_args()
    report = Report("heads")
    with tempfile.TemporaryDirectory() as folder:
        check = Check(Command(arguments.binary, folder))
        for work in (check.labels, check.steps):
            for form in [(1, "cpu", "ort"), (2, "cpu", "onnx"), (2, "cuda", "ort"), (1, "cuda", "onnx")]:
                report.check("{}; {} stages, {}, {}".format(work.__name__, *form), work, *form)
    report.finish()


if __name__ == "__main__":
    main()
