"""What the scripts that kill processes share: a model small enough that scoring is not what takes the time, and records."""

import random
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHAPE = (
    "--shape tiny --hidden-size 64 --intermediate-size 96 --num-attention-heads 2 --num-key-value-heads 1 --head-dim 32 "
    "--num-hidden-layers 2"
).split()
WORDS = "so it is as far as anyone knows and no further than that which was said before of the one that came after".split()


def words(rng, most):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, most)))


def prepare(name, binary, seed, records, record, shape=SHAPE):
    """An empty folder in `demo/` with a model in `bundle` and `record(rng, number)` for each of the records in `in.jsonl`; and the
    numbers that are drawn next."""
    rng = random.Random(seed)
    folder = ROOT / "demo" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    subprocess.run([binary, "synth", "--out", "checkpoint", *shape], **quiet)
    subprocess.run([binary, "export", "--checkpoint", "checkpoint", "--out", "bundle", "--probes", "off"], **quiet)
    with open(folder / "in.jsonl", "w") as file:
        for number in range(records):
            file.write(record(rng, number) + "\n")
    return folder, rng
