"""What the checks of GPUs, and of their absence, share. Python's own library is enough for them."""

import ctypes
import os
import subprocess
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / ".onnxruntime-gpu/libonnxruntime.so"
# Automake's status for a test that could not run: neither passed nor failed.
SKIPPED = 77
# Heads of 64, which every attention kernel takes.
SHAPE = "--hidden-size 128 --intermediate-size 192 --num-attention-heads 2 --num-key-value-heads 1 --num-hidden-layers 4"


def gpus():
    """(number of GPUs, why there are none)."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return 0, f"no driver: {error}"
    status = driver.cuInit(0)
    if status != 0:
        return 0, f"the driver's cuInit gives error {status}"
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    return count.value, f"the driver counts {count.value} devices, with status {status}"


class Command:
    """The worldpm-ort command with the GPU build of ONNX Runtime, or another, and a small checkpoint."""

    def __init__(self, binary, folder, library=LIBRARY):
        self.binary = str(Path(binary).resolve())
        self.folder = Path(folder)
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        self.env["ORT_DYLIB_PATH"] = str(library)
        self.checkpoint = self.folder / "checkpoint"
        self.ok("synth", "--out", self.checkpoint, *SHAPE.split())

    def run(self, *arguments, text="", **env):
        command = [self.binary, *map(str, arguments)]
        return subprocess.run(command, env=self.env | env, input=text, capture_output=True, text=True)

    def ok(self, *arguments, text="", **env):
        done = self.run(*arguments, text=text, **env)
        assert done.returncode == 0, f"worldpm-ort {' '.join(map(str, arguments))}:\n{done.stdout}{done.stderr}"
        return done

    def refused(self, *arguments, says, text="", **env):
        """What the command says, which must fail in an orderly way and name all of `says`."""
        done = self.run(*arguments, text=text, **env)
        assert done.returncode == 1, f"exit status {done.returncode}:\n{done.stdout}{done.stderr}"
        assert "panicked" not in done.stderr, done.stderr
        missing = [word for word in says if word not in done.stderr]
        assert not missing, f"{missing} are not in:\n{done.stderr}"
        return done.stderr

    def export(self, *flags):
        """A bundle, made once for the same flags."""
        out = self.folder / ("bundle " + " ".join(flags).replace("/", "-"))
        if not out.exists():
            self.ok("export", "--checkpoint", self.checkpoint, "--out", out, *flags)
        return out


class Report:
    """Runs checks one by one: a broken one must not hide the others."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0

    def check(self, label, work, *arguments):
        try:
            note = work(*arguments)
        except Exception:
            self.failed += 1
            print(f"FAILED {label}\n{traceback.format_exc()}")
        else:
            self.passed += 1
            print(f"ok     {label}" + (f": {note}" if note else ""), flush=True)

    def finish(self, remark):
        verdict = "FAILED" if self.failed or not self.passed else "ok"
        print(f"{self.name} check: {verdict}. {self.passed} passed; {self.failed} failed ({remark})")
        raise SystemExit(verdict != "ok")


def with_folder(work):
    """Calls `work` with a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="worldpm-ort-") as folder:
        work(Path(folder))
