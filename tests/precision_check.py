#!/usr/bin/env python3
"""Checks quantised bundles without this project's runtime, from their files alone.

    make onnx-check     (or: python tests/precision_check.py --binary target/debug/worldpm-ort)

For every form of quantisation: the weights are read out of the bundle with numpy, as ONNX defines the operators that read
them, and compared with the checkpoint's; a checkpoint is made of what was read, and its scores in fp32 are what the
quantised bundle's scores are held to; and plain Python onnxruntime gives the scores that `worldpm-ort score` prints.

Needs onnx, onnxruntime and numpy.
"""

import argparse
import itertools
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx_support import TOLERANCE, Command, Report, pack, run_stages

# Widths of 36, 48 and 77: no multiple of a block, and an odd one.
SHAPE = """--seed 31 --hidden-size 36 --intermediate-size 77 --num-hidden-layers 2 --num-attention-heads 3
    --num-key-value-heads 1 --head-dim 16 --shard-bytes 20000000"""
# Flags, and the largest difference to the scores of the weights that the bundle holds. Standard operators make floats
# of them, and compute what fp32 does; the others also round activations to 8 bits, which counts a few percent here.
FORMS = {
    "int8": 0.3,
    "int8 --asymmetric": 0.3,
    "int8 --block-size 64": 0.3,
    "int8 --block-size 128 --asymmetric": 0.3,
    "int8 --target onnx": 1e-4,
    "int4": 0.3,
    "int4 --asymmetric": 0.3,
    "int4 --block-size 64 --asymmetric": 0.3,
    "int4 --block-size 128 --stages 2": 0.3,
    "int4 --keep *.o_proj --keep layers.1.*": 0.3,
    "int4 --target onnx --keep *.down_proj": 1e-4,
    "w8a8": 0.3,
    "w8a8 --keep *.down_proj": 0.3,
    "int8 --device cuda": None,
    "int4 --device cuda --asymmetric --block-size 64": None,
}
TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "U8": np.uint8, "I8": np.int8}


def even(values):
    """A pack with the last token and the last score twice where their number is odd: see docs/bundle-format.md."""
    for name in ("input_ids", "position_ids", "token_cells", "score_tokens"):
        if len(values[name]) % 2:
            values[name] = np.append(values[name], values[name][-1])
    return values


def tensors(folder):
    """Name: (type, shape, values) of every tensor of the safetensors files in a folder; bfloat16 as 32-bit floats."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8 : 8 + length]).items():
            if name == "__metadata__" or name.startswith("padding."):
                continue
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            values = np.frombuffer(data[begin:end], TYPES[entry["dtype"]])
            if entry["dtype"] == "BF16":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            found[name] = values.reshape(entry["shape"])
    return found


def write_checkpoint(folder, source, weights):
    """The checkpoint in `source` with these weights, in fp32."""
    folder.mkdir()
    for path in source.iterdir():
        if "safetensors" not in path.name:
            (folder / path.name).write_bytes(path.read_bytes())
    header, data = {}, b""
    for name, values in weights.items():
        values = values.astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(weights[name].shape),
            "data_offsets": [len(data), len(data) + len(values)],
        }
        data += values
    header = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)


def unpacked(values, bits):
    """Integers out of bytes, from the lowest bits up, along the last dimension."""
    if bits == 8:
        return values.astype(np.int32)
    return np.stack([values & 15, values >> 4], -1).reshape(*values.shape[:-1], -1).astype(np.int32)


def in_blocks(node, stored, source):
    """Weight, step of each element and integers of a MatMulNBits node."""
    attributes = {a.name: a.i for a in node.attribute}
    k, n, bits, size = (attributes[name] for name in ("K", "N", "bits", "block_size"))
    assert source.shape == (n, k), f"{node.name}: K={k}, N={n} for {source.shape}"
    blocks = -(-k // size)
    integers = unpacked(stored[node.input[1]], bits).reshape(n, blocks, size)
    scales = stored[node.input[2]].reshape(n, blocks).astype(np.float64)
    zeros = np.full((n, blocks), 2 ** (bits - 1))
    if len(node.input) > 3 and node.input[3]:
        zeros = unpacked(stored[node.input[3]].reshape(n, -1), bits)[:, :blocks]
    steps = np.repeat(scales, size, 1)[:, :k]
    weight = ((integers - zeros[:, :, None]) * scales[:, :, None]).reshape(n, -1)
    assert (weight[:, k:] == 0).all(), f"{node.name}: what fills up the last block is not zero"
    return weight[:, :k], steps, bits


def signed(node, stored, source):
    """The same of a DequantizeLinear node."""
    attributes = {a.name: a.i for a in node.attribute}
    assert attributes["axis"] == 1
    scales = stored[node.input[1]].astype(np.float64)
    bits = 8
    integers = stored[node.input[0]].astype(np.int32)
    if stored[node.input[0]].dtype == np.uint8:  # int4, two in a byte
        bits = 4
        integers = unpacked(stored[node.input[0]], 4)
        integers -= 16 * (integers > 7)
    steps = np.repeat(scales, attributes["block_size"], 1)[:, : source.shape[1]]
    return integers * steps, steps, bits


def channels(node, stored, source):
    """The same of a QGemm node."""
    assert {a.name: a.i for a in node.attribute}["transB"] == 1
    assert not stored[node.input[5]].any(), "zero points"
    steps = np.broadcast_to(stored[node.input[4]].astype(np.float64)[:, None], source.shape)
    return stored[node.input[3]] * steps, steps, 8


READERS = {"MatMulNBits": (in_blocks, 1), "DequantizeLinear": (signed, 0), "QGemm": (channels, 3)}


def kept(patterns, module):
    """Whether a pattern matches the module or what follows a dot in its name."""
    parts = [module, *(module[dot.end() :] for dot in re.finditer(r"\.", module))]
    shapes = [re.compile(".*".join(map(re.escape, pattern.split("*")))) for pattern in patterns]
    return any(shape.fullmatch(part) for shape in shapes for part in parts)


class Check:
    def __init__(self, command):
        self.command = command
        self.checkpoint = command.folder / "checkpoint"
        command("synth", "--out", self.checkpoint, *SHAPE.split())
        self.source = tensors(self.checkpoint)
        self.names = (command.folder / f"{number}" for number in itertools.count())

    def export(self, checkpoint, *flags):
        bundle = next(self.names)
        self.command("export", "--checkpoint", checkpoint, "--out", bundle, "--probes", "off", *flags)
        return bundle

    def in_python(self, bundle):
        options = onnxruntime.SessionOptions()
        # Without VNNI instructions the fastest kernel for products of bytes is not exact.
        if "vnni" not in Path("/proc/cpuinfo").read_text():
            options.add_session_config_entry("session.x64quantprecision", "1")
        paths = sorted(bundle.glob("stage-*.onnx"))
        sessions = [onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for path in paths]
        scores = run_stages(sessions, even(pack(self.command.sequences)))
        return scores[: len(self.command.sequences), 0]

    def weights(self, bundle, patterns):
        """The linear layers' weights that the bundle holds, each compared with the checkpoint's."""
        stored, found, errors = tensors(bundle), {}, {}
        for path in sorted(bundle.glob("stage-*.onnx")):
            onnx.checker.check_model(path, full_check=True)
            graph = onnx.load(path, load_external_data=False).graph
            for initializer in graph.initializer:
                for entry in initializer.external_data:
                    if entry.key == "offset":
                        assert int(entry.value) % 4096 == 0, f"{initializer.name} is not aligned"
            for node in graph.node:
                if node.op_type not in READERS:
                    continue
                reader, position = READERS[node.op_type]
                name = node.input[position]
                source = self.source[name].astype(np.float64)
                weight, steps, bits = reader(node, stored, source)
                off = np.abs(weight - source) / np.maximum(np.abs(steps), 1e-30)
                # Half a step; and a whole one at the end of a symmetric range that has a step less, or where scales of
                # 16 bits move it.
                assert off.max() <= 1.02, f"{name}: off by {off.max()} steps"
                assert (off > 0.51).mean() < 0.06, f"{name}: {(off > 0.51).mean():.3f} of it off by more than half a step"
                found[name] = weight
                errors.setdefault(bits, []).append(np.sqrt(((weight - source) ** 2).mean() / (source**2).mean()))
        linear = {name for name in self.source if name.endswith("_proj.weight")}
        expected = {name for name in linear if not kept(patterns, name.removesuffix(".weight"))}
        assert set(found) == expected, f"quantised: {sorted(found)}"
        for bits, ratios in errors.items():
            limit = 0.15 if bits == 4 else 0.012
            assert 0 < max(ratios) < limit, f"weights of {bits} bits are off by {max(ratios):.4f} of their size"
        return found

    def form(self, flags, tolerance):
        arguments = ["--precision", *flags.split()]
        patterns = [value for flag, value in itertools.pairwise(arguments) if flag == "--keep"]
        bundle = self.export(self.checkpoint, *arguments)
        found = self.weights(bundle, patterns)
        if tolerance is None:
            return
        ours, theirs = self.command.scores(bundle), self.in_python(bundle)
        assert np.abs(ours - theirs).max() <= TOLERANCE, f"worldpm-ort {ours}, Python onnxruntime {theirs}"
        exact = next(self.names)
        write_checkpoint(exact, self.checkpoint, {**self.source, **found})
        expected = self.command.scores(self.export(exact))
        assert abs(expected[0] - expected[1]) > 100 * TOLERANCE, f"the scores do not differ clearly: {expected}"
        # Written so that a NaN fails.
        difference = np.abs(ours - expected).max()
        assert difference <= tolerance, f"scores {ours}, and in fp32 from the same weights {expected}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    arguments = parser.parse_args()
    report = Report("precision")
    with tempfile.TemporaryDirectory() as folder:
        check = Check(Command(arguments.binary, folder))
        for flags, tolerance in FORMS.items():
            report.check(flags, check.form, flags, tolerance)
    report.finish()


if __name__ == "__main__":
    main()
