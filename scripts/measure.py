#!/usr/bin/env python3
"""make measure: the figures of README.md on export, memory and long inputs, each from one run of the release build.

Peaks are the largest resident set of the command itself, as the operating system counts it.
"""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/worldpm-ort"


def run(*arguments):
    """Wall seconds and peak bytes of one command."""
    started = time.monotonic()
    child = subprocess.Popen(
        [BINARY, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    problems = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"measure: error: worldpm-ort {' '.join(map(str, arguments))}:\n{problems}")
    return time.monotonic() - started, usage.ru_maxrss * 1024


def report(name, measured):
    seconds, peak = measured
    print(f"{name:46} {seconds:8.2f} s {peak / 1e6:10.1f} MB peak", flush=True)


def float_bytes(config):
    """Bytes in fp32 of all weights but the embedding, which is read in bf16."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    size = config.get("head_dim") or hidden // config["num_attention_heads"]
    query, key_value = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    layer = 2 * hidden * (query + key_value) + query + 2 * key_value + 3 * hidden * wide + 2 * hidden
    return 4 * (config["num_hidden_layers"] * layer + hidden + hidden * hidden + 2 * hidden + 1)


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        full, half, tiny = folder / "72b", folder / "0.5b", folder / "tiny"
        run("synth", "--shape", "72b", "--sparse", "--out", full)
        arguments = ["export", "--checkpoint", full, "--out", folder / "72b-bundle", "--device", "cuda", "--stages", 4]
        report("export of the 72B layout, 4 stages", run(*arguments))

        run("synth", "--shape", "0.5b", "--out", half)
        run("export", "--checkpoint", half, "--out", folder / "0.5b-bundle", "--probes", "off")
        loaded = max((run("score", "--only-scores", "--model", folder / "0.5b-bundle") for _ in range(5)), key=lambda one: one[1])
        report("loading the 0.5B shape, worst of 5", loaded)
        weights = float_bytes(json.loads((half / "config.json").read_text()))
        print(f"  that is {loaded[1] / weights:.3f} times the {weights / 1e6:.0f} MB of its fp32 weights")

        run("synth", "--shape", "tiny", "--out", tiny)
        run("export", "--checkpoint", tiny, "--out", folder / "tiny-bundle")
        for records in (10_000, 1_000_000):
            lines = folder / "records.jsonl"
            with lines.open("w") as file:
                for i in range(records):
                    answer = f"Keep it dark, and try number {i % 50}."
                    record = {"id": i, "prompt": "Tips for better sleep?", "response": answer}
                    file.write(json.dumps(record) + "\n")
            report(f"scoring {records} records", run("score", "--only-scores", "--model", folder / "tiny-bundle", "--input", lines))


if __name__ == "__main__":
    main()
