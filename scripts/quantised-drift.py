#!/usr/bin/env python3
"""Differences between bundles with integer weights and fp32 over their probes: what the limits of `verify` in
runtime/src/verify/limit.rs come from.

    make library && cargo build --release && scripts/quantised-drift.py

Takes a few minutes.
"""

import json
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/worldpm-ort"
SHAPES = {
    "3 layers": "--shape tiny",
    "8 layers": "--shape tiny --hidden-size 1024 --intermediate-size 2816 --num-hidden-layers 8 "
    "--num-attention-heads 8 --num-key-value-heads 2 --head-dim 128 --vocab-size 151936",
    "24 layers": "--shape 0.5b",
}
PRECISIONS = {
    "int8": ["--precision int8 --block-size 32", "--precision int8 --block-size 128"],
    "int4": ["--precision int4", "--precision int4 --block-size 128", "--precision int4 --asymmetric"],
    "w8a8": ["--precision w8a8"],
}


def main():
    largest = {}
    for shape, flags in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            checkpoint, bundle = Path(folder, "checkpoint"), Path(folder, "bundle")
            subprocess.run([BINARY, "synth", "--out", checkpoint, *flags.split()], check=True, capture_output=True)
            for precision, exports in PRECISIONS.items():
                for options in exports:
                    export = [BINARY, "export", "--checkpoint", checkpoint, "--out", bundle, "--probes", "on"]
                    subprocess.run([*export, *options.split()], check=True, capture_output=True)
                    verify = [BINARY, "verify", "--model", bundle, "--json", "--tolerance", "1000"]
                    report = json.loads(subprocess.run(verify, check=True, capture_output=True).stdout)
                    # In proportion to scores beyond 1 and -1, as `verify` has it.
                    found = max(
                        abs(got - reference) / max(abs(reference), 1)
                        for probe in report["probes"]
                        for got, reference in zip(probe["got"], probe["reference"], strict=True)
                    )
                    largest[precision] = max(found, largest.get(precision, 0))
                    print(f"{shape}, {options}: {found:.4f}", flush=True)
    for precision, found in largest.items():
        print(f"largest of {precision}: {found:.4f}")


if __name__ == "__main__":
    main()
