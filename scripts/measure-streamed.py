#!/usr/bin/env python3
"""make measure-streamed: all 80 layers of the 72B shape on this machine, a layer in memory at a time: wall time, peak of
resident memory, and what went to loading and to computing. The checkpoint is of holes and takes no disk space: reading it
is as fast as memory, and a real one as fast as its disk. With --precision the bundle has weights of its own, on disk and
filled with random numbers: 48 GB for int4, under TMPDIR. Takes ten minutes and more on two cores."""

import argparse
import json
import os
import random
import struct
import subprocess
import tempfile
import time
from array import array
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/worldpm-ort"
WORDS = "sleep dark bed light walk read quiet water cold warm plan early late work music stop rest habit".split()


CHUNK = 32 << 20


def noise():
    """Bytes for tensors of each type: any for integers, small numbers of either sign for 16 bits, positive ones for
    scales and norms."""
    values = random.Random(1)
    bf16 = array("H", (values.randrange(0x3C00, 0x3D00) | values.getrandbits(1) << 15 for _ in range(1 << 16)))
    floats = array("f", (values.uniform(1e-4, 2e-3) for _ in range(1 << 16)))
    blocks = {"U8": values.randbytes(CHUNK), "BF16": bf16.tobytes(), "F32": floats.tobytes()}
    return {kind: block * (CHUNK // len(block)) for kind, block in blocks.items()}


def fill(bundle):
    """Writes random numbers over the weights of a bundle, and returns their size."""
    blocks, total = noise(), 0
    for path in sorted(bundle.glob("*.safetensors")):
        with open(path, "r+b") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
            for name, tensor in header.items():
                if name == "__metadata__":
                    continue
                begin, end = tensor["data_offsets"]
                file.seek(8 + length + begin)
                for at in range(begin, end, CHUNK):
                    file.write(blocks[tensor["dtype"]][: min(CHUNK, end - at)])
        total += path.stat().st_size
    return total


def run(*arguments):
    """Wall seconds, peak bytes and messages of one command."""
    started = time.monotonic()
    child = subprocess.Popen([BINARY, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    messages = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"measure-streamed: error: worldpm-ort {' '.join(map(str, arguments))}:\n{messages}")
    return time.monotonic() - started, usage.ru_maxrss * 1024, messages


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="72b", choices=["0.5b", "7b", "72b"])
    parser.add_argument("--stages", type=int, default=80)
    parser.add_argument("--memory", default="8GB")
    parser.add_argument("--precision", help="int8, int4 or w8a8: weights of the bundle's own, on disk")
    parser.add_argument("--tokens", type=int, default=1000, help="of a conversation, about")
    parser.add_argument("--conversations", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, bundle, lines = Path(folder, "checkpoint"), Path(folder, "bundle"), Path(folder, "lines.jsonl")
        run("synth", "--shape", arguments.shape, "--sparse", "--out", checkpoint)
        export = ["export", "--checkpoint", checkpoint, "--out", bundle, "--stages", arguments.stages, "--probes", "off"]
        seconds, peak, _ = run(*export, *(["--precision", arguments.precision] if arguments.precision else []))
        print(f"exported in {seconds:.1f} s, {peak / 1e9:.2f} GB peak", flush=True)
        if arguments.precision:
            print(f"filled {fill(bundle) / 1e9:.1f} GB with random numbers", flush=True)
        answers = (
            " ".join(WORDS[(7 + i + n * n) % len(WORDS)] for n in range(arguments.tokens))
            for i in range(arguments.conversations)
        )
        lines.write_text("".join(json.dumps({"prompt": "How?", "response": answer}) + "\n" for answer in answers))
        score = ["score", "--only-scores", "--model", bundle, "--input", lines, "--memory", arguments.memory, "--residency", "streamed"]
        seconds, peak, messages = run(*score)
    print(messages.rstrip())
    print(f"{seconds:.1f} s, {peak / 1e9:.2f} GB peak")


if __name__ == "__main__":
    main()
