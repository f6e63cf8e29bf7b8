#!/usr/bin/env python3
"""Scores on a GPU: every check that needs one. docs/gpu-checklist.md says what to expect.

    make test-gpu     (or: python3 tests/gpu_check.py --binary target/debug/worldpm-ort)

Without a GPU it prints "skipped: no device", and its exit status is 77: it has neither passed nor failed. `--rehearse`
runs on the CPU what of it can run there, which shows that the script itself works and nothing of GPUs; its exit status
is 77 as well, unless something fails.

Needs `scripts/fetch-onnxruntime.py --gpu`, CUDA's libraries, and for TensorRT its libraries and cuDNN.
"""

import argparse
import ctypes
import json
import sys

from device_support import LIBRARY, ROOT, SKIPPED, Command, Report, gpus, with_folder

PRECISIONS = ["bf16", "fp16", "int8", "int4"]
# ONNX Runtime's numbers: its own choice, flash, memory-efficient, cuDNN, unfused.
KERNELS = [0, 1, 2, 8, 16]
# Scores of one conversation alone and among others may differ by rounding, which is coarse in bfloat16.
TOLERANCE = 0.2


def conversations():
    lines = (ROOT / "tests/fixtures/scores/conversations.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


class Check:
    def __init__(self, command, device, count):
        self.command, self.device, self.count = command, device, count

    def on_gpu(self):
        return self.device != "cpu"

    def bundle(self, *flags):
        return self.command.export("--device", "cuda" if self.on_gpu() else "cpu", *flags)

    def verify(self, bundle, device, *options):
        """Compares with the fp32 scores of the probes, within what the precision allows."""
        done = self.command.ok("verify", "--model", bundle, "--device", device, *options)
        if device != "cpu":
            assert "nodes by" in done.stderr, f"the placement of nodes is not told:\n{done.stderr}"
            assert "CPUExecutionProvider" not in done.stderr, f"nodes are on the CPU:\n{done.stderr}"
        return done

    def precision(self, name):
        done = self.verify(self.bundle("--precision", name), self.device)
        return done.stdout.strip().splitlines()[-1]

    def standard_operators(self):
        self.verify(self.bundle("--target", "onnx"), self.device)

    def stages(self, devices):
        self.verify(self.bundle("--stages", "4"), devices)

    def batches(self):
        """One by one and all at once."""
        bundle = self.bundle()
        records = [json.dumps(record) for record in conversations()]
        score = ["score", "--only-scores", "--model", bundle, "--device", self.device, "--keep-going"]
        together = self.command.run(*score, text="\n".join(records)).stdout.splitlines()
        alone = [self.command.run(*score, text=record).stdout.strip() for record in records]
        assert len(together) == len(alone) == len(records), f"{len(together)} and {len(alone)} of {len(records)}"
        pairs = [(json.loads(a), json.loads(b)) for a, b in zip(together, alone, strict=True)]
        scores = [(a["score"], b["score"]) for a, b in pairs if "score" in a or "score" in b]
        assert scores, together
        largest = max(abs(a - b) for a, b in scores)
        assert largest <= TOLERANCE, f"alone and together differ by {largest}"
        return f"{len(scores)} scores, largest difference {largest:.2g}"

    def attention_kernel(self, bits):
        self.verify(self.bundle(), self.device, "--ep-option", f"sdpa_kernel={bits}")

    def reading_threads(self, threads):
        option = f"external_data_loader_reading_threads={threads}"
        self.verify(self.bundle(), self.device, "--ep-option", option)

    def bench(self):
        """The rate of products on the device, and how much of its memory is taken."""
        options = "--json --workload pairs --records 2 --rounds 1 --samples 2".split()
        done = self.command.ok("bench", "--model", self.bundle(), "--device", self.device, *options)
        report = json.loads(done.stdout)
        assert report["utilisation"]["matrix"]["flops_per_second"] > 0, report["utilisation"]
        memory = report["memory"]["devices"]
        if self.on_gpu():
            assert [gpu["device"] for gpu in memory] == [self.device], memory
            assert memory[0]["peak"] > memory[0]["before"], memory
        return f"{report['utilisation']['matrix']['flops_per_second'] / 1e9:.0f} GFLOP/s of products, memory {memory}"

    def no_such_device(self):
        says = ["cuda:99", "no such device"]
        self.command.refused("verify", "--model", self.bundle(), "--device", "cuda:99", says=says)

    def too_little_memory(self):
        """An orderly error, and the device is as good as before."""
        option = ["--ep-option", "gpu_mem_limit=1000000"]
        self.command.refused("verify", "--model", self.bundle(), "--device", self.device, *option, says=[self.device])
        self.verify(self.bundle(), self.device)

    def tensorrt(self, *options):
        """Builds an engine, and the second time finds it."""
        bundle = self.bundle("--target", "onnx", "--weights", "copy")
        folder = self.command.folder / ("engines " + " ".join(options)).replace("=", "-")
        cache = ["--ep-option", f"trt_engine_cache_path={folder}", *options]
        first = self.verify(bundle, "tensorrt:0", *cache)
        assert "building an engine" in first.stderr and "engine built in" in first.stderr, first.stderr
        assert "nodes by TensorrtExecutionProvider" in first.stderr, first.stderr
        assert list(folder.glob("stage-00-*/*.engine")), f"no engine in {list(folder.rglob('*'))}"
        second = self.verify(bundle, "tensorrt:0", *cache)
        assert "engine loaded in" in second.stderr, second.stderr
        return first.stderr.strip().splitlines()[-2]

    def tensorrt_context_model(self):
        option = "trt_dump_ep_context_model=1"
        note = self.tensorrt("--ep-option", option)
        assert list(self.command.folder.glob("engines*/stage-00-*/*_ctx.onnx")), "no context model"
        return note


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU what can run there")
    arguments = parser.parse_args()
    count, why = gpus()
    if not count and not arguments.rehearse:
        print(f"skipped: no device ({why})")
        sys.exit(SKIPPED)
    if not LIBRARY.is_file():
        sys.exit("gpu_check: error: no .onnxruntime-gpu folder; run scripts/fetch-onnxruntime.py --gpu first")

    def work(folder):
        report = Report("gpu")
        device = "cpu" if arguments.rehearse else "cuda:0"
        check = Check(Command(arguments.binary, folder), device, count)
        for precision in PRECISIONS:
            report.check(f"{precision} scores equal those of fp32", check.precision, precision)
        report.check("standard operators", check.standard_operators)
        report.check("four stages on one device", check.stages, device)
        report.check("a conversation alone and among others", check.batches)
        report.check("bench", check.bench)
        if arguments.rehearse:
            if report.failed:
                report.finish("rehearsal")
            print(f"skipped: rehearsal of {report.passed} checks on the CPU; it says nothing of GPUs")
            sys.exit(SKIPPED)
        if count > 1:
            report.check("four stages on two devices", check.stages, "cuda:0,cuda:1")
        for bits in KERNELS:
            report.check(f"attention kernel {bits}", check.attention_kernel, bits)
        for threads in [0, 4, 16]:
            report.check(f"{threads} threads read the weights", check.reading_threads, threads)
        report.check("a device that is not there", check.no_such_device)
        report.check("too little memory", check.too_little_memory)
        tensorrt = "with TensorRT"
        try:
            ctypes.CDLL("libnvinfer.so.10")
        except OSError as error:
            tensorrt = f"TensorRT skipped: {error}"
        else:
            report.check("TensorRT builds an engine and finds it again", check.tensorrt)
            report.check("TensorRT, by a context model", check.tensorrt_context_model)
        report.finish(f"{count} GPUs, {tensorrt}")

    with_folder(work)


if __name__ == "__main__":
    main()
