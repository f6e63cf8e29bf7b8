#!/usr/bin/env bash
# make measure-trained: what each precision does to the scores of trained weights. Installs torch, transformers and what
# reads GGUF files into .venv-trained (several GB), unless TRAINED_PYTHON names a Python that has what
# scripts/requirements-trained.txt names. Options go to scripts/measure_trained.py.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${TRAINED_PYTHON:-}" ]; then
    scripts/make-venv.sh .venv-trained scripts/requirements-trained.txt
    TRAINED_PYTHON=.venv-trained/bin/python
fi
cargo build --locked --release --bin worldpm-ort --example token_ids
exec "$TRAINED_PYTHON" scripts/measure_trained.py "$@"
