#!/usr/bin/env python3
"""Differences between `transformers` in 16 bits and in fp32 over the probes of bundles: what the limits of `verify` in
runtime/src/verify/limit.rs come from. The reward head is computed in fp32 in both, as in our graphs.

    cargo build --release && .venv-goldens/bin/python scripts/probe-drift.py

Needs what `make goldens` installs. Takes some minutes.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/worldpm-ort"
sys.path.append(str(ROOT / "tests/fixtures/scores"))
from make_score_goldens import load  # noqa: E402

SHAPES = {
    "3 layers": "--shape tiny",
    "8 layers": "--shape tiny --hidden-size 1024 --intermediate-size 2816 --num-hidden-layers 8 "
    "--num-attention-heads 8 --num-key-value-heads 2 --head-dim 128 --vocab-size 151936",
    "24 layers": "--shape 0.5b",
}


@torch.inference_mode()
def scores(model, rule, probes, dtype):
    # Rotary frequencies are fp32 whatever the type of the layers, as they are after from_pretrained.
    frequencies = model.model.rotary_emb.inv_freq.float().clone()
    model.model.to(dtype).rotary_emb.inv_freq = frequencies
    found = []
    for probe in probes:
        hidden_states = model.model(input_ids=torch.tensor([probe["ids"]]), use_cache=False).last_hidden_state
        found.append(model.score(hidden_states[0, rule(probe["ids"])].float()).item())
    return torch.tensor(found, dtype=torch.float64)


def main():
    for name, flags in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            checkpoint, bundle = Path(folder, "checkpoint"), Path(folder, "bundle")
            subprocess.run([BINARY, "synth", "--out", checkpoint, *flags.split()], check=True)
            subprocess.run([BINARY, "export", "--checkpoint", checkpoint, "--out", bundle], check=True)
            probes = json.loads((bundle / "probes.json").read_text())["probes"]
            ours = torch.tensor([probe["scores"][0] for probe in probes], dtype=torch.float64)
            found = {}
            for dtype in (torch.float32, torch.bfloat16, torch.float16):
                model, rule = load(checkpoint)  # anew: rounded weights stay rounded
                found[dtype] = scores(model, rule, probes, dtype)
        reference = found.pop(torch.float32)
        spread = f"scores from {reference.min():.2f} to {reference.max():.2f}"
        print(f"{name}, {spread}: fp32 differs from our reference by {(reference - ours).abs().max():.1e}")
        for dtype, other in found.items():
            differences = (other - reference).abs()
            print(f"  {dtype}: largest {differences.max():.4f}, mean {differences.mean():.4f}", flush=True)


if __name__ == "__main__":
    main()
