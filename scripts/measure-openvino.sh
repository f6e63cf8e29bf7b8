#!/usr/bin/env bash
# make measure-openvino: whether OpenVINO's provider is a way to score in bf16 on a CPU. Installs it, torch and transformers
# into .venv-openvino (several GB), unless OPENVINO_PYTHON names a Python that has what scripts/requirements-openvino.txt
# names. Options go to scripts/measure_openvino.py.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${OPENVINO_PYTHON:-}" ]; then
    scripts/make-venv.sh .venv-openvino scripts/requirements-openvino.txt
    OPENVINO_PYTHON=.venv-openvino/bin/python
fi
cargo build --locked --release --bin worldpm-ort
exec "$OPENVINO_PYTHON" scripts/measure_openvino.py "$@"
