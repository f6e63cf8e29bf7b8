#!/usr/bin/env python3
"""make measure-serving: 64 clients with one conversation a request against `score` on the same records, in turns; with eight
answers to a prompt, and with another prompt in each record, so that nothing is shared.

    scripts/measure-serving.py --binary target/release/worldpm-ort --load target/release/examples/serve_load --model BUNDLE
        [--prompts 100] [--seconds 30] [--turns 3]
"""

import argparse
import json
import random
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from kills import WORDS


def records(prompts, is_shared):
    rng = random.Random(3)
    text = lambda count: " ".join(rng.choice(WORDS) for _ in range(count))
    for prompt in range(prompts):
        question = text(rng.randint(90, 130))
        for answer in range(8):
            before = f"{prompt}: " if is_shared else f"{8 * prompt + answer}: "
            yield {"prompt": before + question, "response": text(rng.randint(30, 80))}


# Before and after the time that is measured: clients come one after another, and at the end packs are not full.
WARM_UP, DRAIN = 5, 2


def counters(url):
    """The time, conversations that were scored, and tokens that were computed."""
    metrics = urllib.request.urlopen(f"{url}/metrics").read().decode()
    total = lambda name: int(re.search(rf"^worldpm_{name}_total\S* (\d+)", metrics, re.MULTILINE)[1])
    return time.monotonic(), total("conversations_scored"), total("unique_tokens")


def is_ready(url):
    try:
        return urllib.request.urlopen(f"{url}/v2/health/ready").status == 200
    except urllib.error.HTTPError:
        return False


def served(args, name, data):
    """Conversations a second and tokens computed of each, by 64 clients that never pause."""
    # A server of its own for each turn: while another process holds a model, pages of memory are others, and on a machine with
    # several memory nodes that has made a difference of 15%.
    command = [args.binary, "serve", "--model", args.model, "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = next((line.split()[-1] for line in server.stderr if line.startswith("listening on ")), None)
    assert url, "the server did not start"
    # So that it never waits for a reader of its log.
    log = open(Path(name) / "log.txt", "w")
    rest = subprocess.Popen(["cat"], stdin=server.stderr, stdout=log)
    try:
        while not is_ready(url):
            time.sleep(0.1)
        load = [args.load, "--address", url.split("//")[1], "--data", data, "--clients", "64"]
        clients = subprocess.Popen([*load, "--seconds", str(WARM_UP + args.seconds + DRAIN)], stdout=subprocess.PIPE, text=True)
        time.sleep(WARM_UP)
        before = counters(url)
        time.sleep(args.seconds)
        after = counters(url)
        report = json.loads(clients.communicate()[0])
        assert set(report["milliseconds"]) == {"200"} and report["broken"] == 0, report
    finally:
        server.terminate()
        server.wait()
        rest.wait()
    passed, scored, tokens = (late - early for early, late in zip(before, after))
    return scored / passed, tokens / scored


def offline(args, name, data):
    """The same of `score`."""
    score = [args.binary, "score", "--model", args.model, "--only-scores", "--input", data, "--output", Path(name) / "out.jsonl"]
    done = subprocess.run(score, check=True, capture_output=True, text=True)
    found = re.search(r"(\d+) conversations in ([\d.]+) s: \d+ tokens, (\d+) of them", done.stderr)
    return int(found[1]) / float(found[2]), int(found[3]) / int(found[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--load", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    print("| | offline, a second | 64 clients, a second | share | tokens computed of each, offline | 64 clients |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for is_shared in (True, False):
            data = Path(name) / "records.jsonl"
            data.write_text("".join(json.dumps(row) + "\n" for row in records(args.prompts, is_shared)))
            what = "8 answers to a prompt" if is_shared else "nothing shared"
            for _ in range(args.turns):
                alone, tokens = offline(args, name, data)
                rate, each = served(args, name, data)
                print(f"| {what} | {alone:.1f} | {rate:.1f} | {rate / alone:.3f} | {tokens:.1f} | {each:.1f} |", flush=True)


if __name__ == "__main__":
    main()
