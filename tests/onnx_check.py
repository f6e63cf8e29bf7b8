#!/usr/bin/env python3
"""Opens exported graphs without this project's runtime: `onnx.checker` on every graph, and the CPU forms run in plain
Python onnxruntime, whose scores must equal what `worldpm-ort score` prints.

    make onnx-check     (or: python tests/onnx_check.py --binary target/debug/worldpm-ort)

Needs onnx, onnxruntime and numpy. Token ids come from the golden files, so no tokenizer is needed.
"""

import argparse
import contextlib
import itertools
import tempfile

import numpy as np
import onnx
from onnx_support import CHECKPOINTS, LAYERS, TOLERANCE, Command, Report, open_stage, pack, run_stages


class Check:
    def __init__(self, command):
        self.command = command
        self.exports = itertools.count()

    def bundle(self, checkpoint, stages, device, target, weights):
        bundle = self.command.folder / f"bundle-{next(self.exports)}"
        self.command(
            "export", "--checkpoint", checkpoint, "--out", bundle, "--stages", stages,
            "--device", device, "--target", target, "--weights", weights, "--probes", "off",
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
        sequences = self.command.sequences_of(checkpoint)
        ours = self.command.scores(bundle, sequences)
        folder = None if weights == "copy" else checkpoint
        sessions = [open_stage(graph, folder) for graph in graphs]
        theirs = run_stages(sessions, pack(sequences))[:, 0]
        assert abs(theirs[0] - theirs[1]) > 100 * TOLERANCE, f"the scores do not differ clearly: {theirs}"
        difference = np.abs(ours - theirs).max()
        # Written so that a NaN fails.
        assert difference <= TOLERANCE, f"worldpm-ort {ours}, Python onnxruntime {theirs}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    arguments = parser.parse_args()
    report = Report("onnx")
    with tempfile.TemporaryDirectory() as folder:
        check = Check(Command(arguments.binary, folder))
        for name, flags in CHECKPOINTS.items():
            checkpoint = check.command.checkpoint(flags)
            forms = [*itertools.product([1, 2, LAYERS], ["cpu", "cuda"], ["ort", "onnx"], ["copy"])]
            forms += [(2, device, target, "reference") for device in ("cpu", "cuda") for target in ("ort", "onnx")]
            for form in forms:
                report.check("{}; {} stages, {}, {}, weights {}".format(name, *form), check.bundle, checkpoint, *form)
    report.finish()


if __name__ == "__main__":
    main()
