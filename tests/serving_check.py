#!/usr/bin/env python3
"""Bundles for servers: configurations are read with Triton's own message types, ensembles are run in plain Python
onnxruntime exactly as they say, and must give the scores that `worldpm-ort score` gives; Kubernetes objects are checked
against the published models of their fields.

    make onnx-check     (or: python tests/serving_check.py --binary target/debug/worldpm-ort --schemas FOLDER)
"""

import argparse
import itertools
import re
import tempfile
from pathlib import Path

import numpy as np
import onnx
import yaml
from google.protobuf import text_format
from kubernetes_schema import Schemas
from onnx_support import CHECKPOINTS, LAYERS, TOLERANCE, Command, Report, open_stage, pack
from padded_check import left, padded
from tritonclient.grpc import model_config_pb2

NAME = "worldpm-test"
TYPES = {
    onnx.TensorProto.FLOAT: ("TYPE_FP32", np.float32),
    onnx.TensorProto.FLOAT16: ("TYPE_FP16", np.float16),
    onnx.TensorProto.BFLOAT16: ("TYPE_BF16", None),
    onnx.TensorProto.INT32: ("TYPE_INT32", np.int32),
    onnx.TensorProto.INT64: ("TYPE_INT64", np.int64),
}
# What the backend takes for TensorRT; any other key fails the load (onnxruntime_backend, src/onnxruntime.cc).
TENSORRT_KEYS = set(
    """precision_mode max_workspace_size_bytes trt_max_partition_iterations trt_min_subgraph_size
    int8_calibration_table_name int8_use_native_calibration_table trt_dla_enable trt_dla_core trt_engine_cache_enable
    trt_engine_cache_path trt_engine_cache_prefix trt_dump_subgraphs trt_force_sequential_engine_build
    trt_context_memory_sharing_enable trt_layer_norm_fp32_fallback trt_timing_cache_enable trt_timing_cache_path
    trt_force_timing_cache trt_detailed_build_log trt_build_heuristics_enable trt_sparsity_enable
    trt_builder_optimization_level trt_auxiliary_streams trt_tactic_sources trt_extra_plugin_lib_paths
    trt_profile_min_shapes trt_profile_max_shapes trt_profile_opt_shapes trt_cuda_graph_enable
    trt_dump_ep_context_model trt_ep_context_file_path trt_ep_context_embed_mode""".split()
)
CUDA_OPTIONS = {"sdpa_kernel": "3", "use_tf32": "0"}
# layout, interface, stages, weights, device, target, further flags
FORMS = [
    ("triton", "padded", 1, "copy", "cpu", "ort", ""),
    ("triton", "padded", LAYERS, "hardlink", "cpu", "ort", ""),
    ("triton", "packed", 2, "copy", "cpu", "ort", ""),
    ("triton", "packed", LAYERS, "hardlink", "cpu", "onnx", ""),
    ("triton", "padded", 2, "reference", "cpu", "onnx", "--precision fp32"),
    ("triton", "padded", 2, "copy", "cuda", "ort", "--max-request-rows 64 --max-row-tokens 8191"),
    ("triton", "packed", 2, "hardlink", "cuda", "onnx", "--triton-tensorrt"),
    ("kserve", "padded", 2, "copy", "cpu", "ort", ""),
    ("kserve", "padded", LAYERS, "hardlink", "cuda", "ort", "--storage-uri s3://models/worldpm"),
    ("kserve", "packed", 2, "copy", "cuda", "onnx", "--triton-tensorrt --triton-image server:1"),
]


def graph_tensors(path):
    """({input: (Triton's type, dims)}, the same of outputs) of a graph file, as its configuration must have them."""
    graph = onnx.load(path, load_external_data=False).graph

    def tensors(values):
        found = {}
        for value in values:
            tensor = value.type.tensor_type
            dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
            found[value.name] = (TYPES[tensor.elem_type][0], dims or [1])  # a number has one element
        return found

    return tensors(graph.input), tensors(graph.output), graph.initializer


def config_tensors(tensors):
    return {t.name: (model_config_pb2.DataType.Name(t.data_type), list(t.dims)) for t in tensors}


class Repository:
    """A model repository, as a Triton server would read it."""

    def __init__(self, folder):
        self.folder = folder
        self.models = {}
        for model in sorted(path for path in folder.iterdir() if path.is_dir()):
            # Parse refuses fields that Triton does not have.
            config = text_format.Parse((model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
            assert config.name == model.name, (config.name, model.name)
            assert config.max_batch_size == 0 and not config.HasField("dynamic_batching"), config
            versions = [path.name for path in model.iterdir() if path.is_dir()]
            assert versions == ["1"], versions
            self.models[config.name] = config
        ensembles = [c for c in self.models.values() if c.HasField("ensemble_scheduling")]
        assert [c.name for c in ensembles] == [NAME], ensembles
        self.ensemble = ensembles[0]
        assert self.ensemble.platform == "ensemble" and not self.ensemble.instance_group
        assert self.ensemble.ensemble_scheduling.max_inflight_requests == 2  # what the pools are sized for
        self.stages = [self.models[step.model_name] for step in self.ensemble.ensemble_scheduling.step]
        assert len(self.stages) == len(self.models) - 1, "models that the ensemble does not use"

    def graph(self, stage):
        """The backend's rule: `1/model.onnx`, and when that is a folder, `model.onnx` in it."""
        return self.folder / stage.name / "1/model.onnx/model.onnx"

    def check(self, device, weights):
        steps = self.ensemble.ensemble_scheduling.step
        tensors = config_tensors(self.ensemble.input)
        for number, (step, stage) in enumerate(zip(steps, self.stages, strict=True)):
            assert stage.backend == "onnxruntime", stage.backend
            inputs, outputs, initializers = graph_tensors(self.graph(stage))
            assert config_tensors(stage.input) == inputs, (config_tensors(stage.input), inputs)
            assert config_tensors(stage.output) == outputs, (config_tensors(stage.output), outputs)
            # Every input is fed, from a tensor of its type and shape that the client gave or an earlier stage made.
            assert set(step.input_map) == set(inputs), step
            assert set(step.output_map) == set(outputs), step
            for name, source in step.input_map.items():
                assert tensors[source] == inputs[name], f"{stage.name}: {name} is {inputs[name]}, {source} {tensors[source]}"
            for name, target in step.output_map.items():
                assert target not in tensors, f"{target} is made twice"
                tensors[target] = outputs[name]
            self.check_placing(number, stage, device)
            self.check_weights(stage, initializers, weights)
        given = config_tensors(self.ensemble.output)
        assert list(given) == ["scores"] and given["scores"] == tensors["scores"], given
        read = {source for step in steps for source in step.input_map.values()}
        assert set(config_tensors(self.ensemble.input)) <= read, "an input of the ensemble is not used"

    def check_placing(self, number, stage, device):
        (group,) = stage.instance_group
        accelerators = stage.optimization.execution_accelerators.gpu_execution_accelerator
        assert group.count == 1
        if device == "cpu":
            assert group.kind == group.KIND_CPU and not accelerators, stage
            return
        assert group.kind == group.KIND_GPU and list(group.gpus) == [number], group
        assert stage.parameters["arena_extend_strategy"].string_value == "1"
        assert accelerators[-1].name == "cuda" and dict(accelerators[-1].parameters) == CUDA_OPTIONS, accelerators

    def check_weights(self, stage, initializers, weights):
        folder = self.graph(stage).parent
        used, ends = 0, {}
        for initializer in initializers:
            data = {entry.key: entry.value for entry in initializer.external_data}
            if data:
                offset, length = int(data["offset"]), int(data["length"])
                used += length
                ends[data["location"]] = max(ends.get(data["location"], 0), offset + length)
        files = {path.name: path for path in folder.iterdir()}
        assert set(files) == {"model.onnx", *ends}, f"{stage.name}: files {sorted(files)}, used {sorted(ends)}"
        for name, end in ends.items():
            assert not files[name].is_symlink() and files[name].stat().st_size >= end, name
            links = files[name].stat().st_nlink
            assert (links > 1) == (weights == "hardlink"), f"{name} has {links} links"
        if weights != "hardlink":
            size = sum(files[name].stat().st_size for name in ends)
            assert size - used < 8192 * (len(initializers) + 2), f"{size} bytes on disk, {used} used"

    def sessions(self):
        return {stage.name: open_stage(self.graph(stage)) for stage in self.stages}

    def infer(self, sessions, inputs):
        """Runs a request as the server's scheduler does: a step runs when all its inputs are there."""
        tensors = {}
        for tensor in self.ensemble.input:
            tensors[tensor.name] = np.asarray(inputs[tensor.name])
        waiting = list(self.ensemble.ensemble_scheduling.step)
        while waiting:
            ready = [step for step in waiting if set(step.input_map.values()) <= set(tensors)]
            assert ready, f"no step can run: {waiting}"
            for step in ready:
                self.step(self.models[step.model_name], sessions[step.model_name], step, tensors)
                waiting.remove(step)
        return {tensor.name: tensors[tensor.name] for tensor in self.ensemble.output}

    def step(self, config, session, step, tensors):
        feed = {}
        for tensor in config.input:
            value = tensors[step.input_map[tensor.name]]
            self.check_value(tensor, value.reshape(value.shape or [1]))
            scalar = next(i for i in session.get_inputs() if i.name == tensor.name).shape == []
            feed[tensor.name] = value.reshape([]) if scalar else value
        names = list(step.output_map)
        outputs = dict(zip(names, session.run(names, feed), strict=True))
        for tensor in config.output:
            self.check_value(tensor, outputs[tensor.name])
            tensors[step.output_map[tensor.name]] = outputs[tensor.name]

    @staticmethod
    def check_value(tensor, value):
        kind = next(dtype for name, dtype in TYPES.values() if name == model_config_pb2.DataType.Name(tensor.data_type))
        assert value.dtype == kind, (tensor.name, value.dtype)
        fits = [a in (b, -1) for a, b in zip(tensor.dims, value.shape, strict=True)]
        assert all(fits), f"{tensor.name}: {value.shape} is not {list(tensor.dims)}"


class Check:
    def __init__(self, command, flags, schemas):
        self.command, self.schemas = command, schemas
        self.checkpoint = command.checkpoint(flags)
        self.exports = itertools.count()
        plain = self.export("plain", "packed", 1, "reference", "cpu", "ort", "")
        self.sequences = command.sequences_of(self.checkpoint)
        self.scores = command.scores(plain, self.sequences)

    def export(self, layout, interface, stages, weights, device, target, flags, checkpoint=None):
        bundle = self.command.folder / f"{self.checkpoint.name} serving {next(self.exports)}"
        name = [] if layout == "plain" else ["--model-name", NAME]
        self.command(
            "export", "--checkpoint", checkpoint or self.checkpoint, "--out", bundle, "--layout", layout,
            "--interface", interface, "--stages", stages, "--weights", weights, "--device", device,
            "--target", target, "--probes", "off", *name, *flags.split(),
        )  # fmt: skip
        return bundle

    def form(self, layout, interface, stages, weights, device, target, flags):
        bundle = self.export(layout, interface, stages, weights, device, target, flags)
        repository = Repository(bundle / "models" if layout == "kserve" else bundle)
        assert len(repository.stages) == stages
        repository.check(device, weights)
        arguments = self.arguments(bundle, layout, stages, device)
        if device == "cuda":
            self.pools(repository, arguments, flags)
        if "--triton-tensorrt" in flags:
            self.tensorrt(bundle, repository)
        if layout == "kserve":
            self.kubernetes(bundle, stages, device, flags, arguments)
        if device == "cpu":
            self.run(bundle, repository, interface, target)

    def run(self, bundle, repository, interface, target):
        width = max(map(len, self.sequences)) + 3
        inputs = pack(self.sequences) if interface == "packed" else padded(self.sequences, width, left)
        scores = repository.infer(repository.sessions(), inputs)["scores"][:, 0]
        limit = 0 if (interface, target) == ("padded", "ort") else TOLERANCE
        difference = np.abs(scores - self.scores).max()
        assert difference <= limit, f"the ensemble gives {scores}, worldpm-ort {self.scores}"
        if interface == "packed":  # the manifest leads this project's own runtime through the repository too
            difference = np.abs(self.command.scores(bundle, self.sequences) - self.scores).max()
            assert difference <= TOLERANCE, f"{difference} from the plain bundle"

    def arguments(self, bundle, layout, stages, device):
        """The server's command line in the README."""
        readme = (bundle / "README.md").read_text()
        (command,) = re.findall(r"^    (tritonserver (?:.*\\\n)*.*)$", readme, re.MULTILINE)
        arguments = command.replace("\\\n", " ").split()
        repository = "$PWD/models" if layout == "kserve" else "$PWD"
        assert arguments[1] == f"--model-repository={repository}", arguments
        assert len(arguments) == 2 + (stages + 1 if device == "cuda" else 0), arguments
        return arguments[2:]

    def pools(self, repository, arguments, flags):
        rows = int((re.search(r"--max-request-rows (\d+)", flags) or [0, 8])[1])
        columns = int((re.search(r"--max-row-tokens (\d+)", flags) or [0, 4096])[1])
        columns += columns % 2
        pinned = int(re.fullmatch(r"--pinned-memory-pool-byte-size=(\d+)", arguments[0])[1])
        total = 0
        for number, (stage, argument) in enumerate(zip(repository.stages, arguments[1:], strict=True)):
            pool = re.fullmatch(rf"--cuda-memory-pool-byte-size={number}:(\d+)", argument)
            hidden = sum(
                2 * rows * columns * t.dims[-1] for t in [*stage.input, *stage.output] if "hidden_states" in t.name
            )
            assert hidden and int(pool[1]) >= max(2 * hidden, 1 << 26), f"{argument}: {hidden} bytes handed over"
            total += hidden
        assert pinned >= max(2 * total, 1 << 28), (pinned, total)

    def tensorrt(self, bundle, repository):
        prefixes = set()
        for stage in repository.stages:
            accelerator = stage.optimization.execution_accelerators.gpu_execution_accelerator[0]
            assert accelerator.name == "tensorrt"
            parameters = dict(accelerator.parameters)
            assert set(parameters) <= TENSORRT_KEYS, set(parameters) - TENSORRT_KEYS
            assert "precision_mode" not in parameters  # strongly typed: the graph's own types
            prefixes.add(parameters["trt_engine_cache_prefix"])
            shapes = {}
            for bound in ("min", "opt", "max"):
                entries = [e.split(":") for e in parameters[f"trt_profile_{bound}_shapes"].split(",")]
                shapes[bound] = {name: [int(n) for n in sizes.split("x")] for name, sizes in entries}
            for tensor in stage.input:
                low, best, high = (shapes[bound].pop(tensor.name) for bound in ("min", "opt", "max"))
                for dim, *sizes in zip(tensor.dims, low, best, high, strict=True):
                    assert sizes == sorted(sizes) and dim in (-1, *set(sizes)), (tensor.name, sizes)
                    assert dim == -1 or len(set(sizes)) == 1, (tensor.name, sizes)
            assert not any(shapes.values()), f"shapes of unknown tensors: {shapes}"
        assert len(prefixes) == len(repository.stages), prefixes
        self.prefixes = prefixes

    def engines_follow_weights(self):
        """Other weights in the same layout, as of a fine-tune, must not find the engines of these."""
        form = ("triton", "packed", 2, "hardlink", "cuda", "onnx", "--triton-tensorrt")
        prefixes = []
        for seed in (1, 2):
            checkpoint = self.command.checkpoint(f"--head one --single-file --seed {seed}")
            bundle = self.export(*form, checkpoint=checkpoint)
            self.tensorrt(bundle, Repository(bundle))
            prefixes.append(self.prefixes)
        assert not prefixes[0] & prefixes[1], prefixes

    def kubernetes(self, bundle, stages, device, flags, arguments):
        runtime, service = (
            yaml.safe_load((bundle / name).read_text()) for name in ("serving-runtime.yaml", "inference-service.yaml")
        )
        self.schemas.check(runtime)
        self.schemas.check(service)
        (container,) = runtime["spec"]["containers"]
        assert container["args"][:2] == ["tritonserver", "--model-repository=/mnt/models"], container["args"]
        assert container["args"][-len(arguments) :] == arguments or not arguments, container["args"]
        volumes = {volume["name"] for volume in runtime["spec"]["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert set(mounts.values()) == volumes and "/dev/shm" in mounts, (mounts, volumes)
        assert ("/var/cache/tensorrt" in mounts) == ("--triton-tensorrt" in flags), mounts
        if "--triton-image" in flags:
            assert container["image"] == "server:1"
        model = service["spec"]["predictor"]["model"]
        assert model["runtime"] == runtime["metadata"]["name"]
        formats = [(f["name"], f["version"]) for f in runtime["spec"]["supportedModelFormats"]]
        assert (model["modelFormat"]["name"], model["modelFormat"]["version"]) in formats
        assert model["storageUri"] == ("s3://models/worldpm" if "s3://" in flags else f"pvc://{NAME}/models")
        for bound in ("requests", "limits"):
            gpus = model["resources"][bound].get("nvidia.com/gpu", "0")
            assert gpus == str(stages if device == "cuda" else 0), model["resources"]

    def repeats(self):
        """The same bytes again, also over the bundle that stands there."""
        form = ("kserve", "padded", 2, "copy", "cuda", "ort", "")
        trees = []
        for bundle in (self.export(*form), self.export(*form)):
            files = sorted(path for path in bundle.rglob("*") if path.is_file())
            trees.append({path.relative_to(bundle): path.read_bytes() for path in files})
        assert trees[0] == trees[1] and len(trees[0]) > 10, [len(tree) for tree in trees]


def broken_objects_are_found(schemas):
    """The check of Kubernetes objects finds faults."""
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "spec": {"predictor": {"model": {"modelFormat": {"name": "triton"}, "resources": {"limits": {"cpu": "1"}}}}},
    }
    schemas.check(service)
    model = service["spec"]["predictor"]["model"]
    for field, value, message in [
        ("storageURI", "pvc://x", "no field storageURI"),
        ("env", [{"value": "x"}], "needs name"),
        ("modelFormat", "triton", "is no V1beta1ModelFormat"),
        ("ports", [{"containerPort": "8080"}], "is no int"),
        ("command", "tritonserver", "is no list"),
    ]:
        broken = {**service, "spec": {"predictor": {"model": {**model, field: value}}}}
        try:
            schemas.check(broken)
        except AssertionError as error:
            assert message in str(error), error
        else:
            raise AssertionError(f"{field}: {value} passed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/debug/worldpm-ort", help="the worldpm-ort command")
    parser.add_argument("--schemas", type=Path, default=".venv-schemas", help="environment of requirements-schemas.txt")
    arguments = parser.parse_args()
    (packages,) = arguments.schemas.glob("lib/python3*/site-packages")
    schemas = Schemas(packages / "kserve/models", packages / "kubernetes/client/models")
    report = Report("serving")
    with tempfile.TemporaryDirectory() as folder:
        command = Command(arguments.binary, folder)
        report.check("broken Kubernetes objects", broken_objects_are_found, schemas)
        for name, flags in CHECKPOINTS.items():
            check = Check(command, flags, schemas)
            for form in FORMS:
                report.check("{}; {}, {}, {} stages, weights {}, {}, {} {}".format(name, *form), check.form, *form)
        report.check("engines of other weights", check.engines_follow_weights)
        report.check("the same bytes again", check.repeats)
    report.finish()


if __name__ == "__main__":
    main()
