#!/usr/bin/env python3
"""Scores with a provider that comes in a library of its own: WebGPU, from the package onnxruntime-ep-webgpu.

    make plugin-check     (or: .venv-plugin/bin/python tests/plugin_check.py --binary target/debug/worldpm-ort)

It runs on any Vulkan device. A machine without a GPU can have one in software, such as SwiftShader, which Debian's
package chromium-common brings: VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json make plugin-check. Without a
device it prints "skipped: no device", and its exit status is 77: it has neither passed nor failed.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime_ep_webgpu as webgpu
from device_support import ROOT, SKIPPED, Command, Report, with_folder
from onnx import helper, numpy_helper

LIBRARY = ROOT / ".onnxruntime/libonnxruntime.so"
PROVIDER = webgpu.get_ep_name()
DEVICE = f"plugin:{PROVIDER}:0"
# Without the second the provider leaves every node that reads or makes int64 to the CPU.
OPTIONS = ["--ep-library", webgpu.get_library_path(), "--ep-option", "enableInt64=1"]
TOLERANCE = 1e-4
POSITIONS = 512
# Under 32 tokens. From 32 on the provider's attention (0.4.0) computes something else on SwiftShader.
SHORT = [
    {"prompt": "Tips for sleep?", "response": "Keep a regular bedtime."},
    {"prompt": "Tips for sleep?", "response": "No."},
    {"prompt": "2+2?", "response": "Four, of course."},
]
LONG = {"prompt": "Tips for sleep?", "response": "Keep a regular bedtime, and no screens. " * 10}


def without_angles(graph):
    """Reads cosines and sines from tables: WebGPU has no Cos and Sin of opset 22 and newer."""
    model = onnx.load(graph, load_external_data=False)
    (frequencies,) = [i for i in model.graph.initializer if i.name == "rotary/inv_freq"]
    angles = np.arange(POSITIONS, dtype=np.float32)[:, None] * numpy_helper.to_array(frequencies).reshape(-1)
    nodes = []
    for node in model.graph.node:
        if node.op_type in ("Cos", "Sin"):
            table = {"Cos": np.cos, "Sin": np.sin}[node.op_type](angles).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(table, f"{node.name}/all"))
            inputs = [f"{node.name}/all", "position_ids"]
            node = helper.make_node("Gather", inputs, node.output, name=node.name, axis=0)
        if node.name not in ("rotary/positions", "rotary/column", "rotary/angles"):
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, graph)


def rewrite(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    for stage in manifest["stages"]:
        graph = bundle / stage["graph"]
        without_angles(graph)
        stage["bytes"] = graph.stat().st_size
        stage["sha256"] = hashlib.sha256(graph.read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))


class Check:
    def __init__(self, command):
        self.command = command
        self.bundles = {stages: self.bundle(stages) for stages in (1, 2, 4)}

    def bundle(self, stages):
        bundle = self.command.export("--precision", "fp32", "--stages", str(stages))
        rewrite(bundle)
        return bundle

    def run(self, *arguments, records, **env):
        text = "".join(json.dumps(record) + "\n" for record in records)
        return self.command.run(*arguments, text=text, ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER="1", **env)

    def scores(self, stages, records, *options):
        done = self.run("score", "--only-scores", "--model", self.bundles[stages], *options, records=records)
        assert done.returncode == 0, done.stderr
        return np.array([json.loads(line)["score"] for line in done.stdout.splitlines()]), done.stderr

    def difference(self, stages, records, devices=DEVICE):
        expected, _ = self.scores(stages, records, "--device", "cpu")
        got, said = self.scores(stages, records, "--device", devices, *OPTIONS)
        assert said.count(f"nodes by {PROVIDER}") == stages and "CPUExecutionProvider" not in said, said
        return float(np.abs(got - expected).max())

    def no_device(self):
        """Why the provider has no device here, if it has none."""
        done = self.run("score", "--only-scores", "--model", self.bundles[1], "--device", DEVICE, *OPTIONS, records=SHORT)
        for reason in ("finds no device", "Failed to get a WebGPU adapter"):
            if reason in done.stderr:
                return done.stderr.strip().splitlines()[-1]
        return None

    def short_conversations(self):
        notes = []
        for stages, devices in [(1, DEVICE), (2, DEVICE), (4, f"{DEVICE},{DEVICE}")]:
            difference = self.difference(stages, SHORT, devices)
            assert difference <= TOLERANCE, f"{stages} stages: {difference}"
            notes.append(f"{stages} stages {difference:.1e}")
        return ", ".join(notes)

    def verify_tells_what_long_conversations_are_worth(self):
        """What is wrong with the provider here must not pass for right."""
        right = self.difference(2, [LONG]) <= TOLERANCE
        done = self.run("verify", "--model", self.bundles[2], "--device", DEVICE, *OPTIONS, records=[])
        last = done.stdout.strip().splitlines()[-1]
        assert (done.returncode, last.split(":")[0]) == ((0, "ok") if right else (1, "FAILED")), done.stdout
        return last

    def nodes_that_are_not_taken(self):
        bundle = self.command.export("--precision", "fp32", "--probes", "off")
        done = self.run("score", "--only-scores", "--model", bundle, "--device", DEVICE, *OPTIONS, records=SHORT)
        assert done.returncode == 1 and not done.stdout, done.stdout
        for says in ["no node may run on the CPU", "Cos rotary/cos, Sin rotary/sin)"]:
            assert says in done.stderr, done.stderr

    def a_device_more(self):
        other = DEVICE.replace(":0", ":1")
        done = self.run("score", "--only-scores", "--model", self.bundles[1], "--device", other, *OPTIONS, records=SHORT)
        assert done.returncode == 1 and "devices here, counted from 0" in done.stderr, done.stderr

    def bench(self):
        options = "--json --records 1 --rounds 1 --samples 0 --prompt-tokens 8 --answer-tokens 8 --max-batch-tokens 32".split()
        done = self.run("bench", "--model", self.bundles[2], "--device", DEVICE, *OPTIONS, *options, records=[])
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert [stage["device"] for stage in report["stages"]] == [DEVICE] * 2, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    binary = parser.parse_args().binary

    def work(folder):
        check = Check(Command(binary, folder, LIBRARY))
        if why := check.no_device():
            print(f"skipped: no device: {why}")
            sys.exit(SKIPPED)
        report = Report("plugin")
        for name in [
            "short_conversations",
            "verify_tells_what_long_conversations_are_worth",
            "nodes_that_are_not_taken",
            "a_device_more",
            "bench",
        ]:
            report.check(name.replace("_", " "), getattr(check, name))
        report.finish(f"{Path(webgpu.get_library_path()).name}")

    with_folder(work)


if __name__ == "__main__":
    main()
