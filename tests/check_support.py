"""What the checks of data sets, hubs and stores share."""

import os
import subprocess
import sys
from contextlib import contextmanager

SHAPE = "--hidden-size 64 --intermediate-size 96 --num-attention-heads 2 --num-key-value-heads 1 --head-dim 32".split()


class Checks:
    """Counts what holds; what does not ends the program."""

    def __init__(self, name, verbose=False):
        self.name, self.verbose, self.passed = name, verbose, 0

    def __call__(self, what, holds):
        if not holds:
            sys.exit(f"{self.name}: error: {what}")
        self.passed += 1
        if self.verbose:
            print(f"{self.name}: {what}")


def forget_variables(*prefixes):
    """Takes variables out of the environment."""
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        del os.environ[name]


def make_model(binary, work):
    """A small bundle in a folder."""
    checkpoint, model = work / "checkpoint", work / "model"
    for command in [
        [binary, "synth", "--shape", "tiny", *SHAPE, "--out", checkpoint],
        [binary, "export", "--checkpoint", checkpoint, "--out", model, "--probes", "off"],
    ]:
        made = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if made.returncode != 0:
            sys.exit(f"error: {command[1]} fails: {made.stderr}")
    return model


@contextmanager
def hub(server, folder):
    """A hub on loopback that has the repositories of a folder; gives its address."""
    process = subprocess.Popen([server, folder], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
