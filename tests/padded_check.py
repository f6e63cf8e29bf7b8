#!/usr/bin/env python3
"""The padded interface in plain Python onnxruntime: its scores must equal those of the packed interface for the same
token sequences, however they are padded.

    make onnx-check     (or: python tests/padded_check.py --binary target/debug/worldpm-ort)
"""

import argparse
import itertools
import tempfile

import numpy as np
import onnx
from onnx_support import CHECKPOINTS, LAYERS, TOLERANCE, Command, Report, open_stage, pack, run_stages

END_OF_TEXT = 151643  # also Qwen's padding token
LENGTHS = [1, 2, 5, 24, 37, 64]  # odd and even; one token


def padded(rows, width, place, pad=END_OF_TEXT, mark=1):
    """`input_ids` and `attention_mask` with every row's tokens at the columns that `place` says."""
    ids = np.full((len(rows), width), pad, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for row, tokens in enumerate(rows):
        columns = place(len(tokens), width)
        ids[row, columns] = tokens
        mask[row, columns] = mark
    return {"input_ids": ids, "attention_mask": mask}


def right(length, width):
    """Padding on the right."""
    return np.arange(length)


def left(length, width):
    """Padding on the left."""
    return np.arange(width - length, width)


def scattered(length, width):
    """Padding anywhere, also between tokens."""
    return np.sort(np.random.default_rng(length).permutation(width)[:length])


def cases(rows):
    """(what, inputs, the rows in order; None for one without tokens)."""
    longest = max(map(len, rows))
    for place in (right, left, scattered):
        for width in (longest, longest + 1, longest + 10):
            yield f"{place.__doc__} to {width}", padded(rows, width, place), rows
    yield "another padding id", padded(rows, longest, left, pad=0), rows
    yield "mask of other values than 0 and 1", padded(rows, longest, left, mark=7), rows
    for row in rows:
        yield f"alone, {len(row)} tokens", padded([row], len(row), right), [row]
        yield f"alone, {len(row)} tokens, padded", padded([row], len(row) + 3, left), [row]
    for at in (0, 2, len(rows)):
        with_empty = [*rows[:at], [], *rows[at:]]
        yield f"row {at} without tokens", padded(with_empty, longest, left), with_empty
    yield "no tokens at all", padded([[], []], 4, right), [[], []]


class Check:
    def __init__(self, command, flags):
        self.command = command
        self.checkpoint = command.checkpoint(flags)
        self.exports = itertools.count()
        random = np.random.default_rng(7)
        # Some end with the padding token, as WorldPM's conversations do, and one has it inside.
        self.rows = [random.integers(0, END_OF_TEXT, length).tolist() for length in LENGTHS]
        for row in self.rows[2:]:
            row[-1] = END_OF_TEXT
        self.rows[3][4] = END_OF_TEXT
        packed = [open_stage(graph, self.checkpoint) for graph in self.export("packed", 1, "ort")]
        self.packed = {tuple(row): run_stages(packed, pack([row]))[0] for row in self.rows}
        assert len({score.item() for score in self.packed.values()}) == len(LENGTHS), self.packed

    def export(self, interface, stages, target, device="cpu", weights="reference"):
        bundle = self.command.folder / f"{self.checkpoint.name} {interface} {next(self.exports)}"
        self.command(
            "export", "--checkpoint", self.checkpoint, "--out", bundle, "--interface", interface, "--stages", stages,
            "--target", target, "--device", device, "--weights", weights,
            "--probes", "off",
        )  # fmt: skip
        graphs = sorted(bundle.glob("stage-*.onnx"))
        assert len(graphs) == stages, f"{stages} stages asked for, {len(graphs)} graphs written"
        return graphs

    def interface(self, stages, target, device):
        graphs = self.export("padded", stages, target, device, weights="copy")
        for index, graph in enumerate(graphs):
            onnx.checker.check_model(graph, full_check=True)
            names = [value.name for value in onnx.load(graph, load_external_data=False).graph.input]
            assert names == ["input_ids" if index == 0 else "hidden_states", "attention_mask"], names
        if device == "cuda":
            return  # bf16 matrix products: the CPU provider has none
        sessions = [open_stage(graph) for graph in graphs]
        if stages > 1:
            (hidden,) = sessions[0].run(["next_hidden_states"], padded(self.rows, 70, left))
            assert len(hidden) == sum(LENGTHS), f"{len(hidden)} tokens handed on, {sum(LENGTHS)} are no padding"
        for what, inputs, rows in cases(self.rows):
            scores = run_stages(sessions, inputs)
            assert scores.shape == (len(rows), 1) and scores.dtype == np.float32, (what, scores.shape, scores.dtype)
            for row, score in zip(rows, scores, strict=True):
                if not row:
                    assert np.isnan(score).all(), f"{what}: {score} for a row without tokens"
                    continue
                difference = np.abs(score - self.packed[tuple(row)]).max()
                assert difference <= TOLERANCE, f"{what}: {score}, packed {self.packed[tuple(row)]}"

    def bits(self, stages):
        """With ONNX Runtime's operators a score has the very bits that `worldpm-ort score` prints."""
        bundle = self.export("packed", 1, "ort")[0].parent
        sequences = self.command.sequences_of(self.checkpoint)
        ours = self.command.scores(bundle, sequences)
        sessions = [open_stage(graph, self.checkpoint) for graph in self.export("padded", stages, "ort")]
        width = max(map(len, sequences)) + 1
        for place in (right, left):
            theirs = run_stages(sessions, padded(sequences, width, place))[:, 0]
            assert theirs.tobytes() == ours.tobytes(), f"{place.__doc__}: {theirs}, worldpm-ort {ours}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    arguments = parser.parse_args()
    report = Report("padded")
    with tempfile.TemporaryDirectory() as folder:
        command = Command(arguments.binary, folder)
        for name, flags in CHECKPOINTS.items():
            check = Check(command, flags)
            for form in itertools.product([1, 2, LAYERS], ["ort", "onnx"], ["cpu", "cuda"]):
                report.check("{}; {} stages, {}, {}".format(name, *form), check.interface, *form)
            report.check(f"{name}; the bits of `score`", check.bits, 2)
    report.finish()


if __name__ == "__main__":
    main()
