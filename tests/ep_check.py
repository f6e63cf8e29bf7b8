#!/usr/bin/env python3
"""Asks the real GPU build of ONNX Runtime for CUDA, TensorRT and a plug-in provider on a machine that has no driver,
and holds the errors against what is really missing.

    make ep-check     (or: python3 tests/ep_check.py --binary target/debug/worldpm-ort)

Needs `scripts/fetch-onnxruntime.py --gpu` and a C compiler. Where there is a driver it does not apply: `make test-gpu` does.
"""

import argparse
import json
import shutil
import subprocess
import sys

from device_support import LIBRARY, ROOT, SKIPPED, Command, Report, gpus, with_folder

RECORD = json.dumps({"prompt": "Tips for better sleep?", "response": "Keep a regular bedtime."}) + "\n"
CUDA = ["libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcudart.so.13"]
TENSORRT = ["libnvinfer.so.10", "libnvonnxparser.so.10", "libcudnn.so.9"]
DRIVER = "libcuda.so.1"


class Check:
    def __init__(self, command):
        self.command = command
        self.cuda = command.export("--device", "cuda", "--probes", "off")
        self.tensorrt = command.export(
            "--device", "cuda", "--target", "onnx", "--weights", "hardlink", "--probes", "off"
        )
        self.cpu = command.export("--device", "cpu", "--probes", "off")

    def refused(self, bundle, device, *options, says, **env):
        cache = ["--ep-option", f"trt_engine_cache_path={self.command.folder / 'engines'}"] if "trt" in device else []
        arguments = ["score", "--only-scores", "--model", bundle, "--device", device, *cache, *options]
        return self.command.refused(*arguments, says=says, text=RECORD, **env)

    def option_names(self):
        script = ROOT / "tests/fixtures/ep/make_option_keys.py"
        done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def cuda_is_missing(self):
        says = ["cuda:0", "stage-00", *CUDA, DRIVER, "the CUDA toolkit 13", "NVIDIA's driver", "LD_LIBRARY_PATH"]
        error = self.refused(self.cuda, "cuda:0", says=says)
        others = [name for name in [*TENSORRT, "libc.so", "libstdc++"] if name in error]
        assert not others, f"{others} are not missing, or not needed:\n{error}"
        self.refused(self.cuda, "auto", says=says)

    def tensorrt_is_missing(self):
        says = ["tensorrt:0", *CUDA, *TENSORRT, DRIVER, "TensorRT 10", "cuDNN 9", "the CUDA toolkit 13"]
        self.refused(self.tensorrt, "tensorrt:0", says=says)

    def only_the_driver_is_missing(self):
        """With files in the place of CUDA's libraries nothing is said of those."""
        folder = self.command.folder / "cuda"
        folder.mkdir()
        (folder / "empty.c").write_text("int nothing;\n")
        for name in CUDA:
            command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, folder / "empty.c"]
            subprocess.run(command, check=True)
        error = self.refused(self.cuda, "cuda:0", says=[f"not found: {DRIVER}."], LD_LIBRARY_PATH=str(folder))
        assert "toolkit" not in error, error

    def provider_is_not_beside_the_library(self):
        folder = self.command.folder / "alone"
        folder.mkdir()
        alone = folder / "libonnxruntime.so"
        shutil.copyfile(LIBRARY, alone)
        says = ["libonnxruntime_providers_shared.so is not beside the library", "fetch-onnxruntime.py --gpu"]
        self.refused(self.cuda, "cuda:0", "--ort-lib", alone, says=says)

    def plug_in_libraries(self):
        """A library that is no plug-in provider, and one that is not there."""
        shared = LIBRARY.with_name("libonnxruntime_providers_shared.so")
        for library in [shared, self.command.folder / "nowhere.so"]:
            says = ["plugin:Some:0", str(library), "made for this version"]
            self.refused(self.cuda, "plugin:Some", "--ep-library", library, says=says)
        self.refused(self.cuda, "plugin:Some", says=["Some", "--ep-library"])

    def tensorrt_needs_another_bundle(self):
        says = ["--device cuda --target onnx --weights hardlink (or copy)"]
        self.refused(self.cuda, "tensorrt:0", says=says)

    def the_cpu_still_works(self):
        """Also with the GPU build."""
        done = self.command.ok("score", "--only-scores", "--model", self.cpu, text=RECORD)
        assert "score" in json.loads(done.stdout), done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    binary = parser.parse_args().binary
    if not LIBRARY.is_file():
        sys.exit("ep_check: error: no .onnxruntime-gpu folder; run scripts/fetch-onnxruntime.py --gpu first")
    count, why = gpus()
    if count or not why.startswith("no driver"):
        print(f"skipped: {why}; make test-gpu is for this machine")
        sys.exit(SKIPPED)

    def work(folder):
        report = Report("ep")
        check = Check(Command(binary, folder))
        for name in [
            "option_names",
            "cuda_is_missing",
            "tensorrt_is_missing",
            "only_the_driver_is_missing",
            "provider_is_not_beside_the_library",
            "plug_in_libraries",
            "tensorrt_needs_another_bundle",
            "the_cpu_still_works",
        ]:
            report.check(name.replace("_", " "), getattr(check, name))
        report.finish("the GPU build of ONNX Runtime, without a driver")

    with_folder(work)


if __name__ == "__main__":
    main()
