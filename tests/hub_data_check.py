#!/usr/bin/env python3
"""Data sets by name: `score --dataset` reads the rows that `datasets.load_dataset` reads, in the same order, and shares its
files with `huggingface_hub`.

    make data-check     (or: python tests/hub_data_check.py --binary target/debug/worldpm-ort --server .../hub_server)

The hub is examples/hub_server.rs, on loopback. Needs datasets.
"""

import argparse
import json
import os
import random
import subprocess
import tempfile
from pathlib import Path

from check_support import Checks, forget_variables, hub, make_model

RANDOM = 60
PARTS = ["train", "test", "dev", "valid", "eval", "training", "data", "en", "a", "b-train", "test_x", "train-00000-of-00002",
         "train-00001-of-00002", "test-00000-of-00001", "x1train", "my-train", ".hidden", "__x__"]
ENDS = [".jsonl"] * 6 + [".csv", ".txt", ".json"]
CARDS = {
    "explicit": ("""
- config_name: one
  default: true
  data_files:
  - split: train
    path: [b/*, a/*.jsonl]
  - split: test
    path: "**/c*.jsonl"
- config_name: two
  data_files: "[ab]/?.jsonl"
- config_name: three
  data_dir: d
""", ["a/x.jsonl", "a/y.jsonl", "b/z.jsonl", "b/cc.jsonl", "d/train/1.jsonl", "d/valid.jsonl", "d/train/0.jsonl"]),
    "anchors": ("\n- {config_name: only, data_files: [{split: train, path: 'x-*'}, {split: half.one, path: y.jsonl}]}\n",
                ["x-2.jsonl", "x-10.jsonl", "x-1.jsonl", "y.jsonl"]),
}
check = Checks("hub_data_check")


def write(folder, files, card=None):
    """A repository whose rows have numbers of their own."""
    for number, name in enumerate(files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"id": 10 * number + at, "prompt": "Why?", "response": f"So {at}."} for at in range(2)]
        if path.name.endswith(".csv"):
            path.write_text("id,prompt,response\n" + "".join(f"{row['id']},Why?,{row['response']}\n" for row in rows))
        elif path.name.endswith(".json"):
            path.write_text(json.dumps(rows))
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    readme = "---\nlicense: mit\n" + ("" if card is None else f"configs:{card}") + "---\n# Data\n"
    (folder / "README.md").write_text(readme)


def layouts():
    """Names of files as people have them, and as nobody has."""
    draw = random.Random(7)
    yield "sharded", ["data/train-00001-of-00002.jsonl", "data/train-00000-of-00002.jsonl", "data/test-00000-of-00001.jsonl",
                      "other.jsonl"]
    yield "folders", ["train/b.jsonl", "train/a.jsonl", "sub/test/x.jsonl", "loose.jsonl"]
    yield "names", ["my-train.jsonl", "dev.jsonl", "test_2.jsonl", "train.csv"]
    yield "plain", ["b.jsonl", "a.jsonl", "c/d.jsonl"]
    yield "twice", ["train/train-1/a.jsonl", "train/b.jsonl"]
    for number in range(RANDOM):
        names = set()
        for _ in range(draw.randint(1, 6)):
            parts = [draw.choice(PARTS) for _ in range(draw.randint(1, 3))]
            names.add("/".join(parts) + draw.choice(ENDS))
        # A file cannot also be a folder.
        names = {name for name in names if not any(other.startswith(name + "/") for other in names)}
        yield f"random{number}", sorted(names)


def ours(binary, model, name, split):
    command = [binary, "score", "--model", model, "--dataset", name, "--output-format", "jsonl", "--only-scores"]
    if split:
        command += ["--split", split]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        return None, result.stderr.strip()
    return [int(json.loads(line)["id"]) for line in result.stdout.splitlines()], result.stderr


def compare(binary, model, name, config):
    """Every split of a config; whether there is one."""
    import datasets

    full = f"{name}:{config}" if config else name
    try:
        loaded = datasets.load_dataset(name, config)
    except Exception as error:  # noqa: BLE001 (it raises a dozen kinds)
        rows, said = ours(binary, model, full, "train")
        check(f"{full} is refused as by datasets ({str(error)[:200]}): {rows}", rows is None)
        return False
    if not {"id", "prompt", "response"} <= set(next(iter(loaded.values())).column_names):
        return False  # text files, which are not read here
    for split, rows in loaded.items():
        theirs = [int(row) for row in rows["id"]]
        found, said = ours(binary, model, full, str(split))
        check(f"{full} {split}: datasets reads {theirs}, we {found}: {said}", found == theirs)
    if len(loaded) == 1:
        found, _ = ours(binary, model, full, None)
        check(f"{full}: its only split needs no name", found == theirs)
    return True


def shared(binary, model, work):
    """Each finds in the cache what the other has downloaded."""
    import huggingface_hub

    cache = Path(os.environ["HF_HUB_CACHE"])
    name = "o/sharded"
    path = huggingface_hub.hf_hub_download(name, "data/train-00000-of-00002.jsonl", repo_type="dataset", local_files_only=True)
    served = work / "served/datasets" / name / "data/train-00000-of-00002.jsonl"
    check("hf_hub_download(local_files_only=True) finds our file", Path(path).read_bytes() == served.read_bytes())
    scan = huggingface_hub.scan_cache_dir(cache)
    check("scan_cache_dir finds no fault", not scan.warnings and all(repo.repo_type == "dataset" for repo in scan.repos))

    other = work / "theirs"
    huggingface_hub.snapshot_download(name, repo_type="dataset", cache_dir=other)
    os.environ |= {"HF_HUB_CACHE": str(other), "HF_HUB_OFFLINE": "1"}
    found, said = ours(binary, model, name, "train")
    check(f"what snapshot_download left is read offline: {said}", found == [10, 11, 0, 1] or found == [0, 1, 10, 11])
    check(f"and that it is all cannot be known: {said}", "another program" in said)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--server", type=Path, required=True)
    args = parser.parse_args()
    binary, server = args.binary.resolve(), args.server.resolve()
    forget_variables("HF_")

    with tempfile.TemporaryDirectory(prefix="hub_data_check.") as work:
        work = Path(work)
        model = make_model(binary, work)
        sets = {}
        for name, files in layouts():
            write(work / "served/datasets/o" / name, files)
            sets[name] = [None]
        for name, (card, files) in CARDS.items():
            write(work / "served/datasets/o" / name, files, card)
            sets[name] = [None, *[line.split("config_name: ")[1].split(",")[0] for line in card.splitlines() if "config_name" in line]]
        with hub(server, work / "served") as endpoint:
            os.environ |= {
                "HF_ENDPOINT": endpoint,
                "HF_HOME": str(work / "home"),
                "HF_HUB_CACHE": str(work / "cache"),
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1",
            }
            # It reads these variables when it is imported.
            import datasets

            datasets.disable_progress_bars()
            datasets.logging.set_verbosity_error()
            read = sum(compare(binary, model, f"o/{name}", config) for name, configs in sets.items() for config in configs)
            check(f"most layouts are read: {read} of {len(sets)}", read > len(sets) / 2)
            shared(binary, model, work)
    print(f"hub_data_check: {check.passed} checks, {read} configs read by both")


if __name__ == "__main__":
    main()
