#!/usr/bin/env python3
"""What bringing records together by their prompts saves: tokens computed of tokens submitted, which depend on no machine, for
answers to long prompts that are scattered through a file. By `score` with its window, by a job that leaves the records where they
are, and by one that groups them; the same texts with a number of its own before each prompt, so that nothing is shared, for the
time that sharing saves. Then what copying and sorting records cost, and a job in all: processor time, with one thread.

    scripts/measure-grouping.py --binary target/release/worldpm-ort [--prompts 300] [--prompt-words 300] [--copied 1000000]
        [--model BUNDLE] [--turns 3]
"""

import argparse
import gzip
import json
import random
import re
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

WORDS = "so it is as far as anyone knows and no further than that which was said before of the one that came after".split()
# Small, since it is tokens that are counted.
SHAPE = (
    "--shape tiny --hidden-size 64 --intermediate-size 96 --num-attention-heads 2 --num-key-value-heads 1 --head-dim 32 "
    "--num-hidden-layers 2"
).split()


def words(rng, least, most):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))


def answers(rng, args, scattered):
    """Rows of 2 to 64 answers to each prompt, as many prompts with few as with many."""
    rows = []
    for number in range(args.prompts):
        prompt = f"{number}: " + words(rng, args.prompt_words // 2, args.prompt_words * 3 // 2)
        for _ in range(round(2 ** rng.uniform(1, 6))):
            rows.append({"prompt": prompt, "response": words(rng, 5, 60)})
    if scattered:
        rng.shuffle(rows)
    return rows


def write(path, rows):
    with open(path, "w") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def measure(command):
    begun = time.monotonic()
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    tokens, computed = map(int, re.search(r"(\d+) tokens, (\d+) of them computed", told).groups())
    return tokens, computed, time.monotonic() - begun


def processor_time(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--prompt-words", type=int, default=300)
    parser.add_argument("--model", help="a bundle for which the seconds are of interest; a tiny one is made without")
    parser.add_argument("--copied", type=int, default=1_000_000, help="short records to copy and sort; 0 for none")
    parser.add_argument("--turns", type=int, default=3, help="how often the cost of a job is measured; 0 for not at all")
    args = parser.parse_args()
    binary = str(Path(args.binary).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        bundle = args.model or str(folder / "bundle")
        if not args.model:
            subprocess.run([binary, "synth", "--out", "checkpoint", *SHAPE], **quiet)
            subprocess.run([binary, "export", "--checkpoint", "checkpoint", "--out", "bundle", "--probes", "off"], **quiet)
        score = [binary, "score", "--only-scores", "--model", bundle]
        print("| answers | | tokens | computed | share | seconds |\n|---|---|---|---|---|---|")
        for scattered in (False, True):
            rows = answers(random.Random(5), args, scattered)
            source = folder / f"in-{scattered}.jsonl"
            write(source, rows)
            for way, flags in [
                ("`score`", []),
                ("job", ["--group-prompts", "never"]),
                ("job, grouped", ["--group-prompts", "always"]),
            ]:
                command = [*score, "--input", str(source), "--output", str(folder / "out.jsonl")]
                if flags:
                    command += ["--job", str(folder / f"job-{scattered}-{flags[1]}"), *flags]
                tokens, computed, seconds = measure(command)
                where = "scattered" if scattered else "together"
                share = 100 * computed / tokens
                print(f"| {len(rows)}, {where} | {way} | {tokens} | {computed} | {share:.1f}% | {seconds:.1f} |", flush=True)
        for number, row in enumerate(rows):
            row["prompt"] = f"{number} {row['prompt']}"
        write(source, rows)
        tokens, computed, seconds = measure([*score, "--input", str(source), "--output", str(folder / "out.jsonl")])
        share = 100 * computed / tokens
        print(f"| {len(rows)}, nothing shared | `score` | {tokens} | {computed} | {share:.1f}% | {seconds:.1f} |", flush=True)
        if args.copied:
            rng = random.Random(6)
            rows = ({"id": n, "prompt": f"Why {rng.randrange(10**6)}?", "response": words(rng, 3, 12)} for n in range(args.copied))
            write(folder / "short.jsonl", rows)
            with open(folder / "short.jsonl", "rb") as plain, gzip.open(folder / "short.jsonl.gz", "wb", 1) as packed:
                shutil.copyfileobj(plain, packed)
            unseen = ["--keep-going", "--deduplicate", "never"]
            for number, (name, flags) in enumerate([
                ("short.jsonl", ["--group-prompts", "never", *unseen]),
                ("short.jsonl", ["--group-prompts", "never"]),
                ("short.jsonl.gz", ["--group-prompts", "never"]),
                ("short.jsonl", ["--group-prompts", "always"]),
            ]):
                job = folder / f"divided-{number}"
                command = [*score, "--input", str(folder / name), "--job", str(job), *flags]
                begun = time.monotonic()
                process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                while not (job / "index.jsonl").exists():
                    assert process.poll() is None, "the job has ended"
                    time.sleep(0.01)
                seconds = time.monotonic() - begun
                process.kill()
                process.wait()
                rate = args.copied / seconds
                print(f"{args.copied} short records of {name} divided, {' '.join(flags)}: {seconds:.2f} s, {rate:.0f} a second", flush=True)
            for turn in range(args.turns):
                for way in (None, "never", "always"):
                    command = [*score, "--quiet", "--threads", "1", "--input", str(folder / "short.jsonl")]
                    if way:
                        command += ["--job", str(folder / f"cost-{turn}-{way}"), "--group-prompts", way]
                    used = processor_time(command)
                    name = f"a job, --group-prompts {way}" if way else "`score`"
                    print(f"{name}: {1e6 * used / args.copied:.1f} µs of processor time a record", flush=True)


if __name__ == "__main__":
    main()
