#!/usr/bin/env python3
"""make endpoint-kill: two servers score a data set for `score --endpoint`, and one of them is killed midway. The output must be,
byte for byte, that of a model in the process. Prints what happened; exits with 1 when the outputs differ.

    scripts/endpoint-kill.py --binary target/release/worldpm-ort [--records 100000] [--job] [--again]
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from kills import prepare, words


def record(rng, number):
    answer = words(rng, 40)
    if number % 5 == 0:
        return json.dumps({"id": number, "prompt": "Why is it so?", "chosen": answer, "rejected": "No.", "source": "made up"})
    return json.dumps({"id": number, "prompt": f"Why {number % 5000}?", "response": answer, "source": "made up"})


class Server:
    """A server on a port that the system gives, or on the one that it had."""

    def __init__(self, binary, folder, port=0):
        command = [binary, "serve", "--model", "bundle", "--port", str(port), "--threads", "1"]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.startswith("listening on "):
                self.url = line.split()[-1]
                break
        else:
            sys.exit("a server did not start")
        # So that it never waits for a reader of its log.
        self.rest = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def kill(self):
        self.process.kill()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--job", action="store_true", help="the client keeps a job")
    parser.add_argument("--again", action="store_true", help="the server that was killed comes back")
    args = parser.parse_args()
    binary = str(Path(args.binary).resolve())
    folder, _ = prepare("endpoint-kill", binary, 1, args.records, record)
    score = [binary, "score", "--quiet", "--input", "in.jsonl"]
    begun = time.monotonic()
    subprocess.run([*score, "--model", "bundle", "--output", "expected.jsonl"], cwd=folder, check=True)
    print(f"by a model in the process: {args.records} records in {time.monotonic() - begun:.1f} s", flush=True)

    servers = [Server(binary, folder), Server(binary, folder)]
    endpoint = ",".join(server.url for server in servers)
    job = ["--job", "job"] if args.job else []
    begun = time.monotonic()
    client = subprocess.Popen([*score, *job, "--endpoint", endpoint, "--output", "out.jsonl"], cwd=folder)
    half = (folder / "expected.jsonl").stat().st_size // 2

    def written():
        partial = folder / "out.jsonl.partial"
        if args.job:
            return sum(path.stat().st_size for path in (folder / "job").glob("shards/*.jsonl"))
        return partial.stat().st_size if partial.exists() else 0

    while client.poll() is None and written() < (half // 4 if args.job else half):
        time.sleep(0.02)
    if client.poll() is not None:
        sys.exit("the client ended before a server was killed")
    servers[0].kill()
    print(f"a server was killed after {time.monotonic() - begun:.1f} s", flush=True)
    if args.again:
        time.sleep(1)
        servers[0] = Server(binary, folder, servers[0].port())
        print("and came back", flush=True)
    code = client.wait()
    elapsed = time.monotonic() - begun
    same = code == 0 and (folder / "out.jsonl").read_bytes() == (folder / "expected.jsonl").read_bytes()
    for server in servers:
        server.kill()
    print(f"by two servers, one of them killed: exit status {code} after {elapsed:.1f} s; output", end=" ")
    print("equal, byte for byte" if same else "DIFFERS")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
