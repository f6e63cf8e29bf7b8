#!/usr/bin/env bash
# make compare: worldpm-ort's exporter against optimum-onnx and the model builder of onnxruntime-genai, on the 0.5b
# shape. They want different versions of transformers: each is installed into a folder of its own (several GB), unless
# OPTIMUM_PYTHON and GENAI_PYTHON name Pythons that have what scripts/requirements-{optimum,genai}.txt name.
# COMPARE_ARGS goes to scripts/compare.py.
set -euo pipefail
cd "$(dirname "$0")/.."
threads=${BENCH_THREADS:-2}

for tool in optimum genai; do
    python=${tool^^}_PYTHON
    if [ -z "${!python:-}" ]; then
        scripts/make-venv.sh ".venv-$tool" "scripts/requirements-$tool.txt"
        declare "$python=.venv-$tool/bin/python"
    fi
done
cargo build --locked --release --bin worldpm-ort
eval "arguments=(${COMPARE_ARGS:-})"
# All sides get the same cores.
taskset -c "0-$((threads - 1))" "$OPTIMUM_PYTHON" scripts/compare.py --binary target/release/worldpm-ort \
    --genai-python "$GENAI_PYTHON" --out demo/compare --threads "$threads" "${arguments[@]}"
