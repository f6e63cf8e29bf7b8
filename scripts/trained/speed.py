"""Tokens a second of every precision and of `transformers` in bf16, in alternating rounds."""

import json
import shlex
import statistics
import tempfile
import time
from pathlib import Path

import torch
import transformers

import bench

WORKLOADS = ("best of 8", "4 pairs", "one conversation")
REPEATS = 3


class Reference(bench.Reference):
    """A one-layer head as `transformers` itself loads it; the rest as in `make bench`."""

    def __init__(self, checkpoint, dtype, tokenizer):
        self.name = "transformers bf16"
        self.tokenizer = tokenizer
        model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=dtype)
        self.model, self.head = model.model, model.score

    def token_ids(self, messages):
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def reference_of(checkpoint):
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    architecture = json.loads((checkpoint / "config.json").read_text())["architectures"][0]
    kind = bench.Reference if architecture == "Qwen2ForRewardModel" else Reference
    return kind(checkpoint, torch.bfloat16, tokenizer), tokenizer


def ours(options, run, bundle, lines, flags):
    """Seconds of rounds of `worldpm-ort bench` behind one that does not count, and its tokens."""
    command = [options.binary, "bench", "--model", bundle, "--data", lines, "--samples", "0", "--json"]
    report = json.loads(run([*command, "--warmup", "1", "--rounds", REPEATS, "--threads", options.threads, *shlex.split(flags)]))
    rounds = report["throughput"]["rounds"]
    return statistics.median(r["seconds"] for r in rounds), rounds[0]["real_tokens"]


def theirs(reference, conversations, size):
    reference.run(conversations, size)
    return statistics.median(reference.run(conversations, size)["seconds"] for _ in range(REPEATS))


def measure(options, checkpoint, export, run):
    """`{workload: {"tokens", "batch_size", "seconds": {system: [...]}}}`: a value for each round is the median of three
    in a row."""
    with tempfile.TemporaryDirectory(dir=options.work) as place:
        bundles = {}
        for index, (name, flags) in enumerate(options.precisions.items()):
            bundle = Path(place, str(index))
            export(options, checkpoint, bundle, flags)
            for way, extra in options.scoring.items():
                bundles[f"{name}; {way}" if way else name] = (bundle, extra)
        return measure_bundles(options, checkpoint, bundles, Path(place, "conversations.jsonl"), run)


def measure_bundles(options, checkpoint, bundles, lines, run):
    reference, tokenizer = reference_of(checkpoint)
    workloads = bench.make_workloads(bench.Texts(tokenizer))
    found = {}
    for name in WORKLOADS:
        conversations = workloads[name]
        lines.write_text("".join(json.dumps({"messages": c}) + "\n" for c in conversations))
        size = reference.choose_batch_size(conversations)
        seconds = {reference.name: [], **{system: [] for system in bundles}}
        tokens = 0
        for _ in range(options.rounds):
            time.sleep(0.3)  # lets the threads of the system before stop spinning
            seconds[reference.name].append(theirs(reference, conversations, size))
            time.sleep(0.3)
            for system, (bundle, flags) in bundles.items():
                took, tokens = ours(options, run, bundle, lines, flags)
                seconds[system].append(took)
        found[name] = {"tokens": tokens, "batch_size": size, "seconds": seconds}
    return found


def table(found, markdown):
    """Tokens a second, and how many times those of transformers that is: medians of all rounds."""
    theirs, *systems = next(iter(found.values()))["seconds"]
    rows = []
    for system in (theirs, *systems):
        cells = []
        for workload in found.values():
            medians = {name: statistics.median(values) for name, values in workload["seconds"].items()}
            rate = workload["tokens"] / medians[system]
            way = "padded" if workload["batch_size"] > 1 else "one by one"
            cells.append(f"{rate:.0f}, {way}" if system == theirs else f"{rate:.0f} ({medians[theirs] / medians[system]:.2f})")
        rows.append([system, *cells])
    return "Tokens a second (times those of transformers):\n\n" + markdown(["", *found], rows)
