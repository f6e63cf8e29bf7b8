#!/usr/bin/env python3
"""Whether OpenVINO, by its plug-in provider for ONNX Runtime, is a way to score in bf16 on a CPU.

    make measure-openvino MEASURE="--shape 0.5b --rounds 5"

The provider refuses our graphs: it has no `RMSNormalization`, `RotaryEmbedding` and `Attention`. So a bundle in fp32 of
standard operators is written anew in older ones (scripts/plain_operators.py), whose scores are first compared with those
of the graph as exported, on ONNX Runtime's CPU provider. Weights are random.

Reported are which provider takes how many nodes, with OpenVINO's inference precision f32 and bf16; how far scores are
from fp32; whether a score has the same bits alone and beside others; and the time from text to score, in alternating
rounds with `transformers` in bf16 and with `worldpm-ort` at `medium`. OpenVINO is given all conversations of a workload
at once, in the packed form in which `worldpm-ort` computes them, so shared prompts are computed once. It prepares kernels
for each shape that it meets, so there are two figures of it: the same conversations again, and others, with a shape that
is new in each run, as in real use.
"""

import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import onnxruntime_ep_openvino as plugin
import torch
import transformers

import bench
import plain_operators

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
from onnx_support import pack  # noqa: E402

TOLERANCE = 1e-4
# Rounds of worldpm-ort behind the first.
OURS_MORE = 5
CPU = "CPUExecutionProvider"
# The rewritten graphs, by how they have the cosines and sines of rotary embedding.
ANGLES, TABLES = "plain-angles.onnx", "plain-tables.onnx"


def fail(message):
    raise SystemExit(f"measure-openvino: error: {message}")


def run(command):
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        fail(f"{shlex.join(map(str, command))}:\n{done.stderr}")
    return done.stdout


def openvino_device():
    onnxruntime.register_execution_provider_library("openvino", plugin.get_library_path())
    for device in onnxruntime.get_ep_devices():
        if device.ep_name == plugin.get_ep_name() and device.ep_metadata.get("ov_device") == "CPU":
            return device
    fail("the plug-in finds no CPU")


class Graph:
    """A graph of the packed interface in a session, on ONNX Runtime's CPU provider or on a device of the plug-in."""

    def __init__(self, path, threads, device=None, precision=None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        started = time.perf_counter()
        if device is None:
            self.session = onnxruntime.InferenceSession(path, options, providers=[CPU])
        else:
            config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1"}
            options.add_provider_for_devices([device], {"load_config": json.dumps({"CPU": config})})
            self.session = onnxruntime.InferenceSession(path, options)
        self.loaded_in = time.perf_counter() - started

    def nodes(self):
        """`{provider: {operator: nodes}}`."""
        found = {}
        for part in self.session.get_provider_graph_assignment_info():
            operators = found.setdefault(part.ep_name, {})
            for node in part.get_nodes():
                operators[node.op_type] = operators.get(node.op_type, 0) + 1
        return found

    def scores(self, sequences):
        (scores,) = self.session.run(["scores"], self.inputs(pack(sequences)))
        return scores[:, 0]

    def inputs(self, values):
        return {value.name: values[value.name] for value in self.session.get_inputs()}


def batches(count):
    """Who is scored together with whom: alone, by twos, all."""
    for size in (1, 2, count):
        for first in range(0, count, size):
            yield list(range(first, min(first + size, count)))


def in_batches(graph, sequences):
    """The scores of every conversation in every batch, `[conversations][batches]`, and those of a second run of all."""
    found = [[] for _ in sequences]
    for batch in batches(len(sequences)):
        for index, score in zip(batch, graph.scores([sequences[i] for i in batch]), strict=True):
            found[index].append(score)
    return np.array(found), graph.scores(sequences)


def drift(scores, exact):
    differences = np.abs(np.asarray(scores, np.float64) - exact)
    return {"rms": float(np.sqrt((differences**2).mean())), "largest": float(differences.max())}


def changed(conversations, step):
    """The same conversations with prompts that are longer or shorter by some words, another number in each step."""
    words = (step + 1) // 2 * (1 if step % 2 else -1)

    def prompt(text):
        parts = text.split()
        return " ".join(parts[:words] if words < 0 else parts + parts[:words])

    return [[{**m, "content": prompt(m["content"])} if m["role"] == "user" else m for m in c] for c in conversations]


def timed(work):
    """Seconds that a call takes, and those of processors."""
    started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def processor_seconds_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def examine(name, graph, sequences, exact):
    """Who computes the graph, how far its scores are from `exact`, and whether they have the same bits in any batch."""
    nodes = graph.nodes()
    counts = ", ".join(f"{sum(operators.values())} nodes by {provider}" for provider, operators in nodes.items())
    print(f"{name}: loaded in {graph.loaded_in:.1f} s, {counts}", flush=True)
    scores, again = in_batches(graph, sequences)
    apart = scores.max(axis=1) - scores.min(axis=1)
    return {
        "nodes": nodes, "loaded_in": graph.loaded_in, **drift(scores[:, -1], exact),
        "same_bits": int((apart == 0).sum()), "apart": float(apart.max()), "same_again": bool((scores[:, -1] == again).all()),
    }  # fmt: skip


def measure_scores(options, bundle, open_graph, reference, conversations):
    sequences = [reference.token_ids(messages) for messages in conversations]
    exact = Graph(bundle / "stage-00.onnx", options.threads).scores(sequences).astype(np.float64)
    for name in (ANGLES, TABLES):
        plain = drift(Graph(bundle / name, options.threads).scores(sequences), exact)
        print(f"{name} on {CPU}: {plain['largest']:.1e} from the graph as exported, at most", flush=True)
        if plain["largest"] > TOLERANCE:
            fail(f"the rewritten graph computes something else: {plain}")
    found = {}
    for precision in options.precisions:
        name = f"OpenVINO {precision}"
        found[name] = examine(name, open_graph(TABLES, precision), sequences, exact)
    name = "OpenVINO bf16, angles computed"
    found[name] = examine(name, open_graph(ANGLES, "bf16"), sequences, exact)
    for size, way in ((1, "one by one"), (bench.PADDED_BATCH, "padded")):
        found[f"transformers bf16, {way}"] = drift(reference.run(conversations, size)["scores"], exact)
    return {"conversations": len(conversations), "spread": float(exact.std()), "systems": found}


def scores_table(found):
    rows = []
    for name, system in found["systems"].items():
        bits = f"{system['same_bits']} of {found['conversations']}; up to {system['apart']:.1e} apart" if "apart" in system else ""
        rows.append([name, f"{system['rms']:.1e}", f"{system['largest']:.1e}", bits, system.get("same_again", "")])
    heads = ["", "from fp32, rms", "largest", "same bits in any batch", "same bits again"]
    return f"Scores, whose standard deviation is {found['spread']:.2f}:\n\n" + markdown(heads, rows)


class Speed:
    """Seconds of every system for each workload, and seconds of processors, which others on the machine disturb less."""

    def __init__(self, options, reference, graphs, bundle):
        self.options, self.reference, self.graphs, self.bundle = options, reference, graphs, bundle
        self.steps = {}

    def theirs(self, conversations, size):
        self.reference.run(conversations, size)
        return [timed(lambda: self.reference.run(conversations, size)) for _ in range(self.options.repeats)]

    def score(self, graph, conversations):
        graph.scores([self.reference.token_ids(messages) for messages in conversations])

    def again(self, graph, conversations):
        self.score(graph, conversations)
        return [timed(lambda: self.score(graph, conversations)) for _ in range(self.options.repeats)]

    def new(self, graph, conversations):
        found = []
        for _ in range(self.options.repeats):
            self.steps[graph] = self.steps.get(graph, 0) + 1
            others = changed(conversations, self.steps[graph])
            found.append(timed(lambda others=others: self.score(graph, others)))
        return found

    def ours(self, conversations):
        """A process that scores once less often has what loading and warming up take of the processors."""
        lines = self.options.work / "conversations.jsonl"
        lines.write_text("".join(json.dumps({"messages": c}) + "\n" for c in conversations))
        command = [self.options.binary, "bench", "--model", self.bundle, "--data", lines, "--samples", "0", "--json"]
        command += ["--threads", self.options.threads, "--float32-matmul-precision", "medium", "--warmup", "1", "--rounds"]
        before = processor_seconds_of_children()
        run([*command, 1])
        once = processor_seconds_of_children()
        report = json.loads(run([*command, 1 + OURS_MORE]))
        processors = (processor_seconds_of_children() - once - (once - before)) / OURS_MORE
        return [(r["seconds"], processors) for r in report["throughput"]["rounds"]]

    def measure(self, conversations):
        size = self.reference.choose_batch_size(conversations)
        systems = {"transformers bf16": lambda: self.theirs(conversations, size)}
        for name, graph in self.graphs.items():
            systems[f"{name}, the same again"] = lambda graph=graph: self.again(graph, conversations)
            systems[f"{name}, new shapes"] = lambda graph=graph: self.new(graph, conversations)
        systems["worldpm-ort medium"] = lambda: self.ours(conversations)
        found = {name: {"seconds": [], "processors": []} for name in systems}
        self.steps = {}
        for index in range(self.options.rounds):
            names = list(systems)
            for name in names[index % len(names) :] + names[: index % len(names)]:
                time.sleep(0.3)  # lets the threads of the system before stop spinning
                for kind, values in zip(found[name], zip(*systems[name](), strict=True), strict=True):
                    found[name][kind].append(statistics.median(values))
            latest = {name: [round(values[-1], 3) for values in system.values()] for name, system in found.items()}
            print(f"round {index + 1}, seconds and those of processors: {latest}", flush=True)
        return {"batch_size": size, "systems": found}


def markdown(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def speed_table(found, kind):
    theirs, *systems = next(iter(found.values()))["systems"]
    rows = []
    for name in (theirs, *systems):
        cells = []
        for workload in found.values():
            values = {system: kinds[kind] for system, kinds in workload["systems"].items()}
            median = statistics.median(values[name])
            ratio = statistics.median(a / b for a, b in zip(values[theirs], values[name], strict=True))
            way = "padded" if workload["batch_size"] > 1 else "one by one"
            cells.append(f"{median:.2f}, {way}" if name == theirs else f"{median:.2f} ({ratio:.2f})")
        rows.append([name, *cells])
    return markdown(["", *found], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/worldpm-ort")
    parser.add_argument("--shape", default="0.5b", help="of `synth`")
    parser.add_argument("--work", type=Path, default=ROOT / "demo/openvino", help="folder for checkpoint and bundles")
    parser.add_argument("--parts", nargs="+", choices=["scores", "speed"], default=["scores", "speed"])
    parser.add_argument("--precisions", nargs="+", choices=["f32", "bf16"], default=["f32", "bf16"], help="of OpenVINO")
    parser.add_argument("--workloads", nargs="+", default=["best of 8", "4 pairs", "one conversation"], help="of `make bench`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="runs of a system in a round; the median counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    checkpoint, fp32, bf16 = (options.work / f"{name}-{options.shape}" for name in ("checkpoint", "fp32", "bf16"))
    if not checkpoint.exists():
        run([options.binary, "synth", "--shape", options.shape, "--head", "two", "--out", checkpoint])
    export = [options.binary, "export", "--checkpoint", checkpoint, "--probes", "off", "--out"]
    for graph in (ANGLES, TABLES):
        (fp32 / graph).unlink(missing_ok=True)  # an export replaces bundles that hold nothing else
    run([*export, fp32, "--precision", "fp32", "--target", "onnx"])
    run([*export, bf16])
    plain_operators.rewrite(fp32 / "stage-00.onnx", fp32 / ANGLES, with_tables=False)
    plain_operators.rewrite(fp32 / "stage-00.onnx", fp32 / TABLES, with_tables=True)

    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    reference = bench.Reference(checkpoint, torch.bfloat16, tokenizer)
    every = bench.make_workloads(bench.Texts(tokenizer))
    conversations = every["best of 8"] + every["one conversation"]
    report = {
        "cpu": bench.cpu_model(), "threads": options.threads, "shape": options.shape,
        "onnxruntime": onnxruntime.__version__, "torch": torch.__version__, "transformers": transformers.__version__,
        "onednn_in_torch": torch.backends.mkldnn.is_available(), "load_before": os.getloadavg()[0],
    }  # fmt: skip
    device = openvino_device()
    open_graph = lambda name, precision: Graph(fp32 / name, options.threads, device, precision)
    if "scores" in options.parts:
        report["scores"] = measure_scores(options, fp32, open_graph, reference, conversations)
        print(f"\n{scores_table(report['scores'])}\n", flush=True)
    if "speed" in options.parts:
        graphs = {f"OpenVINO {precision}": open_graph(TABLES, precision) for precision in options.precisions}
        measure = Speed(options, reference, graphs, bf16)
        report["speed"] = {name: measure.measure(every[name]) for name in options.workloads}
        for kind, what in (("seconds", "Seconds"), ("processors", "Seconds of processors")):
            print(f"\n{what} (how many times less than transformers, the median of the ratios within a round):\n")
            print(speed_table(report["speed"], kind))
        print()
    print(f"{report['cpu']}, {options.threads} threads, onnxruntime {report['onnxruntime']}, torch {report['torch']} "
          f"(oneDNN: {report['onednn_in_torch']}), transformers {report['transformers']}")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
