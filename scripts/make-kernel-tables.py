#!/usr/bin/env python3
"""Writes bundle/src/readiness/kernels.json: the kernels that ONNX Runtime's CPU and CUDA providers have for the
operators that exported graphs use.

    .venv-check/bin/python scripts/make-kernel-tables.py --operator-kernels OperatorKernels.md --commit SHA

Run it after an operator is added to OPERATORS, after OPSET changes, or for a newer ONNX Runtime. The CPU kernels and the
operands' names come from the onnxruntime package of scripts/requirements-check.txt, which knows its own kernels. The
CUDA kernels come from docs/OperatorKernels.md of ONNX Runtime's sources, which its build generates from the registered
kernels; name the commit that it is from. It lists the types of each parameter of an operator, not which of them go
together.
"""

import argparse
import json
import re
from pathlib import Path

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema, get_all_opkernel_def

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "bundle/src/readiness/kernels.json"
OPSET = int(re.search(r"OPSET: i64 = (\d+)", (ROOT / "bundle/src/proto/mod.rs").read_text())[1])

OPERATORS = {
    "ai.onnx": """Abs Add And ArgMax Attention Cast Ceil Clip Concat ConstantOfShape Cos CumSum DequantizeLinear Div
        DynamicQuantizeLinear Einsum Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm Greater
        GreaterOrEqual Identity LayerNormalization Less LessOrEqual MatMul MatMulInteger Max Min Mod Mul Neg NonZero Not
        Or Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape
        RotaryEmbedding Round ScatterElements ScatterND Shape Sigmoid Sign SimplifiedLayerNormalization Sin Size Slice
        Softmax Split Sqrt Squeeze Sub Tanh Tile Transpose Trilu Unsqueeze Where""",
    "com.microsoft": """FastGelu FusedGemm FusedMatMul GatherBlockQuantized Gelu GroupQueryAttention
        MatMulIntegerToFloat MatMulNBits MultiHeadAttention PagedAttention QGemm QuickGelu RotaryEmbedding
        SkipSimplifiedLayerNormalization""",
}

# The operands that CUDA kernels read from, or leave in, the host's memory: what the kernels declare with
# InputMemoryType(OrtMemTypeCPUInput) and OutputMemoryType(OrtMemTypeCPUInput) in onnxruntime/core/providers/cuda and
# onnxruntime/contrib_ops/cuda.
CUDA_HOST_INPUTS = {
    "ConstantOfShape": [0], "CumSum": [1], "Expand": [1], "GroupQueryAttention": [6], "MatMulInteger": [2, 3],
    "MultiHeadAttention": [8], "PagedAttention": [16], "Range": [0, 1, 2], "ReduceMax": [1], "ReduceMean": [1],
    "ReduceMin": [1], "ReduceSum": [1], "Reshape": [1], "Slice": [1, 2, 3, 4], "Split": [1], "Squeeze": [1],
    "Tile": [1], "Trilu": [1], "Unsqueeze": [1],
}  # fmt: skip
CUDA_HOST_OUTPUTS = {"Shape": [0], "Size": [0]}

FOREVER = 2**31 - 1


def plain(element):
    return element.removeprefix("tensor(").removesuffix(")")


def schemas():
    """(domain, name): the schema in force at OPSET."""
    found = {}
    for schema in get_all_operator_schema():
        key = (schema.domain or "ai.onnx", schema.name)
        version = schema.since_version
        if version <= (OPSET if key[0] == "ai.onnx" else 1) and version >= found.get(key, (0,))[0]:
            found[key] = (version, schema)
    return found


def serves(since, first, last):
    """ONNX Runtime's rule: a kernel without a last version serves only operators of exactly its first one."""
    return first == since or (last != FOREVER and first <= since <= last)


def cuda_kernels(markdown):
    """(domain, name): [(first, last, {parameter: types})] of the CUDA section of OperatorKernels.md."""
    section = markdown.split("## Operators implemented by CUDAExecutionProvider")[1].split("\n## ")[0]
    kernels, domain, name = {}, None, None
    for line in section.splitlines():
        if match := re.match(r"\|\*\*Operator Domain:\*\* \*(\S+)\*", line):
            domain = match[1]
        cells = line.split("|")[1:-1]
        if len(cells) == 4 and domain and re.search(r"\d", cells[2]):
            operator, _, versions, types = cells
            name = operator or name
            bounds = [int(n) for n in re.findall(r"\d+", versions)]
            last = FOREVER if versions.endswith("+") else bounds[-1]
            constraints = {
                match[1]: [plain(t) for t in re.findall(r"tensor\(\w+\)", match[2])]
                for match in re.finditer(r"\*\*(\w+)\*\* = ([^*<]*)", types)
            }
            kernels.setdefault((domain, name), []).append((bounds[0], last, constraints))
    return kernels


def cpu_kernels():
    kernels = {}
    for kernel in get_all_opkernel_def():
        if kernel.provider == "CPUExecutionProvider":
            constraints = {
                name: [plain(t) for t in types if re.fullmatch(r"tensor\(\w+\)", t)]
                for name, types in kernel.type_constraints.items()
            }
            key = (kernel.domain or "ai.onnx", kernel.op_name)
            kernels.setdefault(key, []).append((*kernel.version_range, constraints))
    return kernels


def merged(kernels):
    """Kernels that differ in the types of one parameter only are one kernel with more types."""
    kernels = [{name: set(types) for name, types in kernel.items()} for kernel in kernels]
    again = True
    while again:
        again = False
        for i, one in enumerate(kernels):
            for j, other in enumerate(kernels[:i]):
                if one.keys() == other.keys() and sum(one[name] != other[name] for name in one) <= 1:
                    kernels[j] = {name: one[name] | other[name] for name in one}
                    del kernels[i]
                    again = True
                    break
            if again:
                break
    return [{name: " ".join(sorted(kernel[name])) for name in sorted(kernel)} for kernel in kernels]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operator-kernels", type=Path, required=True, help="docs/OperatorKernels.md")
    parser.add_argument("--commit", required=True, help="the commit that it is from, and the version")
    args = parser.parse_args()
    every, providers = schemas(), {"cuda": cuda_kernels(args.operator_kernels.read_text()), "cpu": cpu_kernels()}

    lines = []
    for domain, names in OPERATORS.items():
        for name in sorted(names.split()):
            since, schema = every[domain, name]
            fixed = {}  # operands of one fixed type are given as a parameter of that name, as kernels do

            def operands(formals):
                out = []
                for formal in formals:
                    many = str(formal.option).endswith("Variadic")
                    if formal.typeStr.startswith("tensor("):
                        fixed[formal.name] = plain(formal.typeStr)
                        out.append([formal.name, formal.name])
                    else:
                        out.append([formal.name, formal.typeStr + ("..." if many else "")])
                return out

            entry = {"since": since, "inputs": operands(schema.inputs), "outputs": operands(schema.outputs)}
            if fixed:
                entry["fixed"] = fixed
            for provider, kernels in providers.items():
                serving = [c for first, last, c in kernels.get((domain, name), []) if serves(since, first, last)]
                entry[provider] = merged(serving)
            if name in CUDA_HOST_INPUTS:
                entry["cuda_host_inputs"] = CUDA_HOST_INPUTS[name]
            if name in CUDA_HOST_OUTPUTS:
                entry["cuda_host_outputs"] = CUDA_HOST_OUTPUTS[name]
            key = name if domain == "ai.onnx" else f"{domain}.{name}"
            lines.append(f"    {json.dumps(key)}: {json.dumps(entry)}")
    origin = {
        "cuda": f"docs/OperatorKernels.md of ONNX Runtime at commit {args.commit}",
        "cpu": f"get_all_opkernel_def() of onnxruntime {onnxruntime.__version__}",
        "made_by": "scripts/make-kernel-tables.py",
    }
    head = f'{{\n  "origin": {json.dumps(origin)},\n  "opset": {OPSET},\n  "operators": {{\n'
    OUTPUT.write_text(head + ",\n".join(lines) + "\n  }\n}\n")
    print(f"{OUTPUT.relative_to(ROOT)}: {len(lines)} operators")


if __name__ == "__main__":
    main()
