#!/usr/bin/env python3
"""make job-kills: two processes score one job, and are killed at 50 random moments. The output must be, byte for byte, that of
a run without a job. Prints what happened; exits with 1 when the outputs differ.

    scripts/job-kills.py --binary target/release/worldpm-ort [--kills 50] [--records 20000] [--seed 1] [--parquet]

With --parquet the records are in a Parquet file, are copied to the job and brought together by their prompts, and the output is
Parquet too.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from kills import prepare, words

# Small, and yet slow enough that the job does not end before the last kill.
SHAPE = (
    "--shape tiny --hidden-size 256 --intermediate-size 512 --num-attention-heads 2 --num-key-value-heads 1 --head-dim 32 "
    "--num-hidden-layers 16"
).split()


def record(rng, number):
    if number % 97 == 13:
        return '{"prompt": "a line that is cut'
    answer = words(rng, 60)
    if number % 5 == 0:
        return json.dumps({"id": number, "prompt": "Why is it so?", "chosen": answer, "rejected": "No."})
    return json.dumps({"id": number, "prompt": f"Why {number % 5000}?", "response": answer})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--shard-records", type=int, default=128)
    parser.add_argument("--pause", type=float, default=1.0, help="longest time between two kills, in seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parquet", action="store_true")
    args = parser.parse_args()
    binary = str(Path(args.binary).resolve())
    folder, rng = prepare("job-kills", binary, args.seed, args.records, record, SHAPE)

    score = [binary, "score", "--keep-going", "--threads", "1", "--model", "bundle"]
    columns = ["--only-scores"]
    ending = "jsonl"
    if args.parquet:
        # The scores are columns like any others then.
        make = [*score, "--input", "in.jsonl", "--added-prefix", "first_", "--output", "in.parquet"]
        subprocess.run(make, cwd=folder, stderr=subprocess.DEVNULL)
        columns, ending = [], "parquet"
    score += ["--input", f"in.{ending}", *columns]
    expected, out = f"expected.{ending}", f"out.{ending}"
    begun = time.monotonic()
    subprocess.run([*score, "--output", expected], cwd=folder, stderr=subprocess.DEVNULL)
    print(f"without a job: {args.records} records in {time.monotonic() - begun:.1f} s", flush=True)

    job = [*score, "--job", "job", "--shard-records", str(args.shard_records), "--output", out]
    log = open(folder / "log.txt", "w")

    def start():
        return subprocess.Popen(job, cwd=folder, stderr=log)

    begun = time.monotonic()
    running = [start(), start()]
    kills = starts = 0
    while kills < args.kills:
        time.sleep(rng.uniform(0.02, args.pause))
        which = rng.randrange(2)
        if running[which].poll() is None:
            running[which].kill()
            kills += 1
        elif running[which].returncode == 1 and (folder / out).exists():
            break
        running[which].wait()
        running[which] = start()
        starts += 1
    codes = [process.wait() for process in running]
    elapsed = time.monotonic() - begun
    # A process that was started when all was done says so, and nothing else.
    done = subprocess.run(job, cwd=folder, stderr=log).returncode
    same = (folder / out).read_bytes() == (folder / expected).read_bytes()
    left = sorted(path.name for path in (folder / "job" / "leases").iterdir())
    alone = (folder / "log.txt").read_text().count("one by one")
    print(f"{kills} kills of two processes in {elapsed:.1f} s; ended with {codes}, then {done}; {alone} shards one by one")
    print(f"leases left: {left}; output {'equal, byte for byte' if same else 'DIFFERS'}")
    if kills < args.kills:
        print(f"the job ended before {args.kills} kills: give it more --records", file=sys.stderr)
    sys.exit(0 if same and not left and kills == args.kills else 1)


if __name__ == "__main__":
    main()
