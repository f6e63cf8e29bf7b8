#!/usr/bin/env python3
"""make measure-precision: how fast weights are converted, against a plain copy of the same files, in alternating rounds
of one run; and with --score, what the scores and the speed of scoring become.

    make measure-precision MEASURE="--width 72b --layers 2 --score"

The copy is `cp` and then `sync` of each file, since an export, too, ends with its files on the disk. Everything is read
once beforehand, so where memory holds it both read from memory. Times are medians. Needs disk space for three to five
times the checkpoint: give another place with --place.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/worldpm-ort"
PRECISIONS = {
    "bf16, --weights copy": "--weights copy",
    "fp16": "--precision fp16",
    "fp32": "--precision fp32",
    "int8": "--precision int8",
    "int4": "--precision int4",
    "int4, asymmetric": "--precision int4 --asymmetric",
    "w8a8": "--precision w8a8",
}


def run(command, **options):
    """Wall seconds and peak bytes of one command."""
    started = time.monotonic()
    child = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    problems = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"measure-precision: error: {' '.join(map(str, command))}:\n{problems}")
    return time.monotonic() - started, usage.ru_maxrss * 1024, problems


def weight_bytes(folder):
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def copy(source, out):
    """Seconds that a plain copy of the weights takes."""
    out.mkdir()
    files = sorted(source.glob("*.safetensors"))
    started = time.monotonic()
    subprocess.run(["cp", "--reflink=never", *files, out], check=True)
    subprocess.run(["sync", *(out / path.name for path in files)], check=True)
    return time.monotonic() - started


def measure_conversion(checkpoint, place, rounds):
    source = weight_bytes(checkpoint)
    subprocess.run(["cat", *checkpoint.glob("*.safetensors")], stdout=subprocess.DEVNULL, check=True)
    seconds, peaks, written, ratios = {}, {}, {}, {}
    for _ in range(rounds):
        for name, flags in PRECISIONS.items():
            plain = copy(checkpoint, place / "copy")
            shutil.rmtree(place / "copy")
            out = place / "bundle"
            export = [BINARY, "export", "--checkpoint", checkpoint, "--out", out, "--probes", "off", *flags.split()]
            taken, peak, _ = run(export)
            written[name] = weight_bytes(out)
            shutil.rmtree(out)
            seconds.setdefault("plain copy", []).append(plain)
            seconds.setdefault(name, []).append(taken)
            ratios.setdefault(name, []).append(plain / taken)
            peaks[name] = max(peak, peaks.get(name, 0))
    print(f"{source / 1e9:.2f} GB of bf16 weights, {os.cpu_count()} cores, {rounds} rounds")
    print(f"{'':22} {'seconds':>8} {'GB/s of source':>15} {'of copy':>8} {'written':>10} {'peak':>10}")
    print(f"{'plain copy':22} {statistics.median(seconds['plain copy']):8.2f} "
          f"{source / 1e9 / statistics.median(seconds['plain copy']):15.2f} {1:8.2f} {source / 1e9:7.2f} GB")
    for name in PRECISIONS:
        taken = statistics.median(seconds[name])
        print(f"{name:22} {taken:8.2f} {source / 1e9 / taken:15.2f} {statistics.median(ratios[name]):8.2f} "
              f"{written[name] / 1e9:7.2f} GB {peaks[name] / 1e6:7.1f} MB", flush=True)  # fmt: skip


def measure_scores(checkpoint, place, tokens):
    """Scores of one set of conversations in each precision: drift against fp32, seconds, memory."""
    words = "sleep dark bed light walk read quiet water cold warm plan early late work music stop rest habit".split()
    records = [
        {"prompt": f"How do I {words[i % len(words)]}?",
         "response": " ".join(words[(i * 7 + n * n) % len(words)] for n in range(tokens // 8 - 12))}
        for i in range(8)
    ]  # fmt: skip
    lines = place / "conversations.jsonl"
    lines.write_text("".join(json.dumps(record) + "\n" for record in records))
    reference = None
    print(f"{'':22} {'drift: rms':>10} {'largest':>8} {'load':>8} {'scoring':>8} {'peak':>10}")
    for name in ("bf16, --weights copy", "fp16", "int8", "int4", "int4, asymmetric", "w8a8"):
        out = place / "bundle"
        run([BINARY, "export", "--checkpoint", checkpoint, "--out", out, "--probes", "off", *PRECISIONS[name].split()])
        scores = place / "scores.jsonl"
        score = [BINARY, "score", "--only-scores", "--model", out, "--input", lines, "--output", scores]
        _, peak, told = run(score)
        shutil.rmtree(out)
        found = [json.loads(line)["score"] for line in scores.read_text().splitlines()]
        reference = reference or found
        differences = [abs(a - b) for a, b in zip(found, reference, strict=True)]
        load = told.split("loaded in ")[1].split(" s")[0]
        scoring = told.split(" conversations in ")[1].split(" s")[0]
        label = "fp32 from bf16" if name.startswith("bf16") else name
        rms = (sum(d * d for d in differences) / len(differences)) ** 0.5
        print(f"{label:22} {rms:10.4f} {max(differences):8.4f} {load:>6} s {scoring:>6} s {peak / 1e9:7.2f} GB", flush=True)
    spread = statistics.pstdev(reference)
    print(f"{len(reference)} conversations, scores {spread:.2f} apart (standard deviation), from {min(reference):.2f} to {max(reference):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", default="7b", choices=["0.5b", "7b", "72b"], help="shape of the layers")
    parser.add_argument("--layers", type=int, default=4, help="number of layers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens that are scored, about")
    parser.add_argument("--score", action="store_true", help="score with every precision, too")
    parser.add_argument("--place", help="folder for the files [default: the system's for temporary files]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.place) as place:
        place = Path(place)
        checkpoint = place / "checkpoint"
        run([BINARY, "synth", "--shape", arguments.width, "--num-hidden-layers", arguments.layers, "--out", checkpoint])
        measure_conversion(checkpoint, place, arguments.rounds)
        if arguments.score:
            measure_scores(checkpoint, place, arguments.tokens)


if __name__ == "__main__":
    main()
