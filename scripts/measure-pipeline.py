#!/usr/bin/env python3
"""make measure-pipeline: two stages that divide the cores against one session that has them all.

Layers of the 0.5B shape, an odd number: the last layer computes only what is scored, so an odd number divides evenly.
The same conversations, 200 packs a round, go through one stage on `--device cpu` and two on `--device cpu,cpu`, in
alternating processes, each after a warm-up. Prints every round, and the median of the rounds' ratios: the pipeline
should reach 95% of the single session. Other work on the machine changes the ratio, and not only the speed: the threads
of one session wait for each other, those of two stages do not. So each side says how much of the cores other processes
took meanwhile, and rounds in which that was more than 5% do not count.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/worldpm-ort"
FOLDER = ROOT / "demo/measure-pipeline"
# Share of the cores that other processes may take in a round that counts.
QUIET = 0.05


class Others:
    """The share of the cores that is taken by processes other than those that end between the start and `share`."""

    def __init__(self):
        self.before = self.now()

    @staticmethod
    def now():
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        total, idle = sum(fields), fields[3] + fields[4]
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = (children.ru_utime + children.ru_stime) * os.sysconf("SC_CLK_TCK")
        return total, idle, own

    def share(self):
        total, idle, own = (after - before for after, before in zip(self.now(), self.before))
        return max(0.0, (total - idle - own) / max(total, 1))


def run(*arguments):
    done = subprocess.run([BINARY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"measure-pipeline: error: worldpm-ort {' '.join(map(str, arguments))}:\n{done.stderr}")
    return done.stdout


def bench(arguments, stages, devices, timeline=None):
    more = ["--timeline", timeline] if timeline else []
    # Each conversation fills a pack: more than half of the budget.
    tokens = arguments.tokens
    others = Others()
    report = run(
        "bench", "--json", "--model", FOLDER / f"bundle-{stages}", "--device", devices, "--threads", arguments.threads,
        "--workload", "single", "--records", arguments.packs, "--prompt-tokens", tokens // 4,
        "--answer-tokens", tokens - tokens // 4, "--max-batch-tokens", tokens, "--warmup", 1, "--rounds", 1,
        "--samples", 0, *more,
    )  # fmt: skip
    report = json.loads(report)
    measured = report["throughput"]["rounds"][0]
    if measured["packs"] != arguments.packs:
        raise SystemExit(f"measure-pipeline: error: {measured['packs']} packs and not {arguments.packs}")
    return {**report, "others": others.share()}


def describe(report):
    stages = " ".join(f"{100 * stage['busy_share']:.1f}%" for stage in report["stages"])
    rate, utilisation = report["throughput"]["unique_tokens_per_second"], report["utilisation"]
    matrix = utilisation["matrix"]["flops_per_second"] / 1e9
    return f"{rate:8.1f} tokens/s, busy {stages}, {100 * utilisation['share']:.1f}% of {matrix:.0f} GFLOP/s, others {100 * report['others']:.0f}%"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packs", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=256, help="of a pack")
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeline", type=Path, help="of the last round of the pipeline")
    arguments = parser.parse_args()

    shutil.rmtree(FOLDER, ignore_errors=True)
    checkpoint = FOLDER / "checkpoint"
    run("synth", "--shape", "0.5b", "--head", "two", "--num-hidden-layers", arguments.layers, "--out", checkpoint)
    for stages in (1, 2):
        out = FOLDER / f"bundle-{stages}"
        run("export", "--checkpoint", checkpoint, "--out", out, "--stages", stages, "--probes", "off")

    ratios = []
    for number in range(arguments.rounds):
        sides = {}
        # Which side is first alternates too.
        for stages, devices in [(1, "cpu"), (2, "cpu,cpu")][:: 1 if number % 2 == 0 else -1]:
            last = number + 1 == arguments.rounds and stages == 2
            sides[stages] = bench(arguments, stages, devices, arguments.timeline if last else None)
        rates = {stages: side["throughput"]["unique_tokens_per_second"] for stages, side in sides.items()}
        ratio = rates[2] / rates[1]
        quiet = max(side["others"] for side in sides.values()) <= QUIET
        if quiet:
            ratios.append(ratio)
        for stages, side in sides.items():
            print(f"round {number + 1}: {'one session' if stages == 1 else 'two stages ':11} {describe(side)}")
        print(f"round {number + 1}: ratio {100 * ratio:.1f}%{'' if quiet else ', does not count'}", flush=True)
    if not ratios:
        raise SystemExit("measure-pipeline: error: the machine was never quiet; nothing else should run on it")
    spread = f"{100 * min(ratios):.1f}% to {100 * max(ratios):.1f}%"
    print(f"two stages reach {100 * statistics.median(ratios):.1f}% of one session (median of {len(ratios)}; {spread})")


if __name__ == "__main__":
    main()
