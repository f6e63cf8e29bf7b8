#!/usr/bin/env python3
"""Exports one checkpoint with worldpm-ort, optimum-onnx and the model builder of onnxruntime-genai, and runs the graphs.

    make compare

The checkpoint is a Qwen2ForSequenceClassification of the 0.5b shape with random weights. optimum-onnx exports it as it
is (text-classification, fp32). The model builder knows no reward head, so it exports the same decoder as a
Qwen2ForCausalLM without its language-model head (fp32, CPU): its graph ends in the hidden states.

Of each export: wall time, peak resident memory of the process, bytes written, nodes of all graphs. Then every graph is
loaded by plain Python onnxruntime in a process of its own, and the processes take turns, round after round, on the
same cores: one conversation of 512 tokens, and eight of 287 to 327 tokens that share their first 207. Times are medians;
a ratio is the median of the ratios within a round. Scores of worldpm-ort and optimum-onnx are compared.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHARED = 207
BEST_OF_8 = [SHARED + answer for answer in (80, 120, 95, 110, 101, 88, 117, 97)]
WORKLOADS = {"one of 512 tokens": [512], "best of 8": BEST_OF_8}


def token_rows(lengths):
    """Token ids of conversations that begin alike, as far as they are long enough."""
    return [[(7 * i + (1000 * row if i >= SHARED else 0)) % 50000 + 100 for i in range(n)] for row, n in enumerate(lengths)]


# What runs in a process of its own: one graph, fed as its kind of graph is.


def packed_feed(numpy, rows):
    """The inputs of worldpm-ort's graph, the shared beginning once."""
    shared = 0
    while len(rows) > 1 and all(shared < len(row) and row[shared] == rows[0][shared] for row in rows):
        shared += 1
    columns = max(map(len, rows))
    columns += columns % 2
    ids, positions = rows[0][:shared], list(range(shared))
    cells, scored = list(range(shared)), []
    row_tokens = numpy.zeros((len(rows), columns), numpy.int64)
    for index, row in enumerate(rows):
        own = range(len(ids), len(ids) + len(row) - shared)
        row_tokens[index, : len(row)] = [*range(shared), *own]
        cells += [index * columns + at for at in range(shared, len(row))]
        ids, positions = ids + row[shared:], positions + list(range(shared, len(row)))
        scored.append(len(ids) - 1)
    return {
        "input_ids": numpy.array(ids),
        "position_ids": numpy.array(positions),
        "row_tokens": row_tokens,
        "token_cells": numpy.array(cells),
        "score_tokens": numpy.array(scored),
        "seqlens_k": numpy.array([len(row) - 1 for row in rows], numpy.int32),
        "total_sequence_length": numpy.array(columns, numpy.int32),
    }


def padded_feed(numpy, rows, inputs, head_size):
    """The inputs of a conventional graph, right-padded, with an empty cache where it wants one."""
    batch, columns = len(rows), max(map(len, rows))
    ids = numpy.zeros((batch, columns), numpy.int64)
    mask = numpy.zeros((batch, columns), numpy.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    feed = {"input_ids": ids, "attention_mask": mask, "position_ids": numpy.tile(numpy.arange(columns), (batch, 1))}
    for value in inputs:
        if value.name.startswith("past_key_values"):
            feed[value.name] = numpy.zeros((batch, value.shape[1], 0, head_size), numpy.float32)
    return {value.name: feed[value.name] for value in inputs}


def serve(graph, threads):
    """Loads a graph, then runs each workload that standard input names."""
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter() - started
    inputs = session.get_inputs()
    packed = any(value.name == "row_tokens" for value in inputs)
    outputs = [value.name for value in session.get_outputs() if not value.name.startswith("present")]
    print(json.dumps({"seconds": loaded}), flush=True)
    genai = Path(graph).with_name("genai_config.json")
    head_size = json.loads(genai.read_text())["model"]["decoder"]["head_size"] if genai.exists() else None
    for line in sys.stdin:
        rows = token_rows(WORKLOADS[line.strip()])
        feed = packed_feed(numpy, rows) if packed else padded_feed(numpy, rows, inputs, head_size)
        started = time.perf_counter()
        result = session.run(outputs, feed)[0]
        seconds = time.perf_counter() - started
        scores = result.reshape(-1).tolist() if result.size == len(rows) else None
        print(json.dumps({"seconds": seconds, "scores": scores}), flush=True)


class Graph:
    """A process that has loaded one graph."""

    def __init__(self, path, threads):
        command = [sys.executable, __file__, "--serve", path, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.load_seconds = self.answer()["seconds"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"compare: error: {self.process.args[3]} cannot be run")
        return json.loads(line)

    def run(self, workload):
        self.process.stdin.write(workload + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        """Peak resident bytes."""
        self.process.stdin.close()
        _, _, usage = os.wait4(self.process.pid, 0)
        return usage.ru_maxrss * 1024


# The exports.


def run(command, environment=None):
    """Wall seconds and peak bytes of one command."""
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    text = child.stdout.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"compare: error: {' '.join(map(str, command))}:\n{text}")
    return time.monotonic() - started, usage.ru_maxrss * 1024


def as_causal_lm(checkpoint, out):
    """The same decoder, called what the model builder knows."""
    out.mkdir()
    for file in checkpoint.iterdir():
        if file.name != "config.json":
            (out / file.name).symlink_to(file.resolve())
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": True}
    (out / "config.json").write_text(json.dumps(config))
    return out


def node_count(graphs):
    import onnx

    return sum(len(onnx.load(path, load_external_data=False).graph.node) for path in graphs)


def megabytes(count):
    return f"{count / 1e6:,.0f} MB"


def compare_exports(arguments, folder):
    checkpoint = folder / "checkpoint"
    synth = [arguments.binary, "synth", "--shape", "0.5b", "--head", "one", "--tie-word-embeddings", "--single-file"]
    # The token that padded_feed fills up with: optimum-onnx finds the last token by it.
    synth += ["--pad-token-id", "0"]
    run([*synth, "--out", checkpoint])
    causal = as_causal_lm(checkpoint, folder / "causal-lm")
    ours = [arguments.binary, "export", "--checkpoint", checkpoint, "--probes", "off"]
    builder = [arguments.genai_python, "-m", "onnxruntime_genai.models.builder", "-i", causal, "-p", "fp32", "-e", "cpu"]
    builder += ["-c", folder / "cache", "--extra_options", "exclude_lm_head=true"]
    optimum = [sys.executable, "-m", "optimum.exporters.onnx", "--model", checkpoint, "--task", "text-classification"]
    exports = {
        "worldpm-ort": [*ours, "--out", folder / "worldpm-ort"],
        "worldpm-ort, weights copied": [*ours, "--weights", "copy", "--out", folder / "worldpm-ort-copy"],
        "optimum-onnx": [*optimum, folder / "optimum-onnx"],
        "onnxruntime-genai builder": [*builder, "-o", folder / "genai"],
    }
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(arguments.threads)}
    graphs = {}
    print("| export | seconds | peak memory | written | nodes |\n|---|---|---|---|---|")
    for name, command in exports.items():
        seconds, peak = run(command, offline)
        out = Path(command[-1])
        written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
        paths = sorted(out.glob("*.onnx"))
        print(f"| {name} | {seconds:.2f} | {megabytes(peak)} | {megabytes(written)} | {node_count(paths)} |", flush=True)
        graphs[name] = paths[0]
    # Without its own folder of weights a graph cannot be opened by path.
    del graphs["worldpm-ort"]
    return graphs


def compare_graphs(arguments, graphs):
    workers = {name: Graph(path, arguments.threads) for name, path in graphs.items()}
    first = next(iter(workers))
    times, scores = {}, {}
    for workload in WORKLOADS:
        for name, worker in workers.items():
            scores[workload, name] = worker.run(workload)["scores"]
        for _ in range(arguments.rounds):
            for name, worker in workers.items():
                times.setdefault((workload, name), []).append(worker.run(workload)["seconds"])
    peaks = {name: worker.close() for name, worker in workers.items()}
    print("\n| graph | load, s | peak memory |" + "".join(f" {w}, s | times slower |" for w in WORKLOADS))
    print("|---|---|---|" + "---|---|" * len(WORKLOADS))
    for name, worker in workers.items():
        row = f"| {name} | {worker.load_seconds:.2f} | {megabytes(peaks[name])} |"
        for workload in WORKLOADS:
            mine, theirs = times[workload, first], times[workload, name]
            ratio = statistics.median(b / a for a, b in zip(mine, theirs))
            row += f" {statistics.median(theirs):.2f} | {ratio:.2f} |"
        print(row)
    for workload in WORKLOADS:
        pairs = zip(scores[workload, first], scores[workload, "optimum-onnx"])
        print(f"\n{workload}: largest difference of scores from optimum-onnx: {max(abs(a - b) for a, b in pairs):.1e}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--genai-python", help="the Python that has onnxruntime-genai")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", help="load this graph and run what standard input names")
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve, arguments.threads)
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    graphs = compare_exports(arguments, arguments.out.resolve())
    compare_graphs(arguments, graphs)
    print(f"\nMedian of {arguments.rounds} alternating rounds, {arguments.threads} threads.")


if __name__ == "__main__":
    main()
