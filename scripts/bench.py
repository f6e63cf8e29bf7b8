#!/usr/bin/env python3
"""Scores the same conversations with worldpm-ort and with transformers, side by side, and says how long each took.

    make bench

All systems are loaded once and then take turns, round after round, on the same cores, from text to score. transformers
runs in fp32 and in bf16 with SDPA attention, each in the faster of two ways: one conversation at a time, or padded
batches of conversations of like length. The table gives medians; a ratio is the median of the ratios within a round.

worldpm-ort is driven through examples/score_rounds.rs: each line it reads is a JSON array of conversations (arrays of
messages), each line it writes {"seconds", "scores", "real_tokens", "unique_tokens", "padded_cells"}.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import safetensors
import torch
import transformers

PADDED_BATCH = 8
WORDS = """the a of to and in is that it for on with as this be by an are from at one have not but what all when there
can more if out so said about up into than them only some could time these two may then do first any my now such like
our over man even most made after also did many before must through years where much your way well down should because
each just those people how too little state good very make world still see own work long day get here between both life
being under never same another know while last might us great old year off come since against right came take used
house use during without again place around however small found water part number course system program question""".split()


class Texts:
    """Random English words, counted in tokens."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.random = random.Random(20)

    def text(self, tokens):
        ids = self.tokenizer(" ".join(self.random.choices(WORDS, k=2 * tokens)), add_special_tokens=False)["input_ids"]
        return self.tokenizer.decode(ids[:tokens])

    def uniform(self, low, high):
        return self.text(self.random.randint(low, high))


def conversation(prompt, response):
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def make_workloads(texts):
    prompt = texts.text(200)
    best_of_8 = [conversation(prompt, texts.uniform(80, 120)) for _ in range(8)]
    pairs = []
    for _ in range(4):
        prompt = texts.text(150)
        pairs += [conversation(prompt, texts.uniform(100, 150)) for _ in range(2)]
    mixed = []
    for index in range(64):
        tokens = 20 + 580 * index // 63
        mixed.append(conversation(texts.text(tokens // 3), texts.text(tokens - tokens // 3)))
    texts.random.shuffle(mixed)
    return {
        "one conversation": [conversation(texts.text(100), texts.text(100))],
        "best of 8": best_of_8,
        "4 pairs": pairs,
        "64 mixed": mixed,
    }


class Ours:
    name = "worldpm-ort"

    def __init__(self, runner, bundle, threads, matmul):
        command = [runner, bundle, str(threads), matmul]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def run(self, conversations):
        self.process.stdin.write(json.dumps(conversations) + "\n")
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: error: {self.process.args[0]} ended with status {self.process.wait()}")
        return json.loads(line)

    def peak_bytes(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


class Reference:
    """transformers' Qwen2 with the two-layer reward head, as a careful user would run it on a CPU."""

    def __init__(self, checkpoint, dtype, tokenizer):
        self.name = f"transformers {str(dtype).removeprefix('torch.')}"
        self.tokenizer = tokenizer
        self.model, info = transformers.Qwen2Model.from_pretrained(
            checkpoint, dtype=dtype, attn_implementation="sdpa", output_loading_info=True
        )
        if info["missing_keys"] or any(not key.startswith("score.") for key in info["unexpected_keys"]):
            raise SystemExit(f"bench: error: {checkpoint} does not hold this model: {info}")
        head = {}
        for path in checkpoint.glob("*.safetensors"):
            with safetensors.safe_open(path, "pt") as file:
                head |= {k.removeprefix("score."): file.get_tensor(k) for k in file.keys() if k.startswith("score.")}
        hidden = self.model.config.hidden_size
        self.head = torch.nn.Sequential(torch.nn.Linear(hidden, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 1))
        self.head.load_state_dict(head, strict=True)
        self.head.to(dtype)
        self.batch_size = {}

    def token_ids(self, messages):
        messages = [{"role": "system", "content": ""}, *messages]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    @torch.inference_mode()
    def run(self, conversations, batch_size):
        start = time.perf_counter()
        tokens = [self.token_ids(messages) for messages in conversations]
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        scores = [0.0] * len(tokens)
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            lengths = torch.tensor([len(tokens[i]) for i in batch])
            ids = torch.zeros(len(batch), int(lengths.max()), dtype=torch.long)
            for row, i in enumerate(batch):
                ids[row, : len(tokens[i])] = torch.tensor(tokens[i])
            mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long() if len(batch) > 1 else None
            hidden = self.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            last = hidden[torch.arange(len(batch)), lengths - 1]
            for i, score in zip(batch, self.head(last)[:, 0].float().tolist(), strict=True):
                scores[i] = score
        return {"seconds": time.perf_counter() - start, "scores": scores}

    def choose_batch_size(self, conversations):
        """The faster of padded batches and one at a time, tried on at most 16 of the conversations."""
        sample = conversations[:: max(1, len(conversations) // 16)]
        sizes = [1, PADDED_BATCH] if len(sample) > 1 else [1]
        return min(sizes, key=lambda size: self.run(sample, size)["seconds"])


def fp32_rate(config):
    """The best fp32 matrix-product rate of torch on this machine just now, in FLOP/s."""
    best = 0.0
    for m, k, n in [(1024, config["hidden_size"], config["intermediate_size"]), (1024, 2048, 2048)]:
        a, b = torch.randn(m, k), torch.randn(k, n)
        for _ in range(8):
            start = time.perf_counter()
            torch.mm(a, b)
            best = max(best, 2 * m * k * n / (time.perf_counter() - start))
    return best


def linear_parameters(config):
    """Weights of one decoder layer: what every token passes, and what only scored tokens pass in the last layer."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head_size = config.get("head_dim") or hidden // heads
    before = hidden * head_size * (heads + 2 * config["num_key_value_heads"])
    after = hidden * head_size * heads + 3 * hidden * config["intermediate_size"]
    return before, after


def linear_flops(config, unique_tokens, conversations):
    before, after = linear_parameters(config)
    layers, hidden = config["num_hidden_layers"], config["hidden_size"]
    per_token = layers * before + (layers - 1) * after
    return 2 * (unique_tokens * per_token + conversations * (after + hidden * hidden + hidden))


def measure(name, conversations, ours, references, config, rounds):
    batch_sizes = {reference: reference.choose_batch_size(conversations) for reference in references}
    calls = {ours: lambda: ours.run(conversations)}
    for reference, size in batch_sizes.items():
        calls[reference] = lambda reference=reference, size=size: reference.run(conversations, size)
    ours.run(conversations)  # the references have run above
    results, rates = {system: [] for system in calls}, []
    for index in range(rounds):
        systems = list(calls)
        for system in systems[index % len(systems) :] + systems[: index % len(systems)]:
            time.sleep(0.3)  # lets the thread pool of the system before stop spinning
            results[system].append(calls[system]())
            if system is ours:
                time.sleep(0.3)
                rates.append(fp32_rate(config))

    seconds = {system: [r["seconds"] for r in runs] for system, runs in results.items()}
    last = results[ours][-1]
    flops = linear_flops(config, last["unique_tokens"], len(conversations))
    exact = next((r for r in references if r.model.dtype == torch.float32), None)
    row = {
        "workload": name,
        "conversations": len(conversations),
        "real_tokens": last["real_tokens"],
        "unique_tokens": last["unique_tokens"],
        "padded_cells": last["padded_cells"],
        "seconds": {system.name: values for system, values in seconds.items()},
        "batch_size": {reference.name: size for reference, size in batch_sizes.items()},
        "times_faster_than": {
            r.name: statistics.median(b / a for a, b in zip(seconds[ours], seconds[r], strict=True)) for r in references
        },
        "fp32_rate": rates,
        "linear_flops": flops,
        # The best of both: a pause of the machine during either would make the share meaningless.
        "share_of_fp32_rate": flops / min(seconds[ours]) / max(rates),
    }
    if exact:
        wanted = results[exact][-1]["scores"]
        row["largest_difference_from_fp32"] = {
            system.name: max(abs(a - b) for a, b in zip(results[system][-1]["scores"], wanted, strict=True))
            for system in calls
            if system is not exact
        }
    return row


def table(rows, names):
    lines = ["| workload | tokens (unique) | " + " | ".join(f"{n}, s" for n in names) + " | "]
    lines[0] += "".join(f"times faster than {n.split()[-1]} | " for n in names[1:])
    lines[0] += "share of fp32 rate | largest score difference |"
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for row in rows:
        cells = [row["workload"], f"{row['real_tokens']} ({row['unique_tokens']})"]
        for name in names:
            way = "" if name not in row["batch_size"] else " one by one" if row["batch_size"][name] == 1 else " padded"
            cells.append(f"{statistics.median(row['seconds'][name]):.2f}{way}")
        cells += [f"{row['times_faster_than'][name]:.2f}" for name in names[1:]]
        cells.append(f"{row['share_of_fp32_rate']:.0%}")
        difference = row.get("largest_difference_from_fp32", {}).get(names[0])
        cells.append("" if difference is None else f"{difference:.1e}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cpu_model():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return " ".join([model, *(flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint with a two-layer reward head")
    parser.add_argument("--bundle", type=Path, required=True, help="the same checkpoint, exported for the CPU")
    parser.add_argument("--runner", default="target/release/examples/score_rounds")
    parser.add_argument("--out", type=Path, required=True, help="folder for bench.json and bench.md")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--matmul", default="highest", help="of worldpm-ort: highest, high, medium or onnxruntime")
    parser.add_argument("--workloads", nargs="*", help="only these (by name)")
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"], help="of transformers")
    options = parser.parse_args()

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"bench: warning: the machine is busy (load {load:.1f}): the times below will be too long", file=sys.stderr)
    config = json.loads((options.checkpoint / "config.json").read_text())
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.checkpoint)
    workloads = make_workloads(Texts(tokenizer))
    ours = Ours(options.runner, str(options.bundle), options.threads, options.matmul)
    references = [Reference(options.checkpoint, getattr(torch, name), tokenizer) for name in options.dtypes]
    rows = []
    for name in options.workloads or workloads:
        rows.append(measure(name, workloads[name], ours, references, config, options.rounds))
        print(f"# {name}: {json.dumps(rows[-1])}", flush=True)

    before, after = linear_parameters(config)
    weights = 4 * (config["num_hidden_layers"] * (before + after) + config["hidden_size"] ** 2)
    notes = {
        "cpu": cpu_model(),
        "threads": options.threads,
        "matmul": options.matmul,
        "rounds": options.rounds,
        "load_before": load,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "fp32_gflops": max(rate for row in rows for rate in row["fp32_rate"]) / 1e9,
        "peak_bytes": ours.peak_bytes(),
        "fp32_linear_weight_bytes": weights,
    }
    markdown = table(rows, [ours.name, *(reference.name for reference in references)])
    markdown += (
        f"\n\nMedian of {options.rounds} alternating rounds, {options.threads} threads, {notes['cpu']}, "
        f"matrix products {options.matmul}, torch "
        f"{notes['torch']}, transformers {notes['transformers']}. The share is that of worldpm-ort's linear layers (best "
        f"round, everything else counted as theirs) in torch's own fp32 matrix products at their best, "
        f"{notes['fp32_gflops']:.0f} GFLOP/s; another library's kernels may pass 100%. Score differences are from transformers in fp32. Peak resident memory of "
        f"worldpm-ort: {notes['peak_bytes'] / 1e9:.2f} GB; fp32 weights of the linear layers: {weights / 1e9:.2f} GB.\n"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(json.dumps({**notes, "workloads": rows}, indent=2) + "\n")
    (options.out / "bench.md").write_text(markdown)
    print(f"\n{markdown}")


if __name__ == "__main__":
    main()
