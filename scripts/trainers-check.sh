#!/usr/bin/env bash
# make trainers-check: asks a server with the reward clients of verl and OpenRLHF, as they are on PyPI. Needs torch and
# transformers: installs them into .venv-goldens (several GB), unless BENCH_PYTHON names a Python that has the versions of
# scripts/requirements-goldens.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${BENCH_PYTHON:-}" ]; then
    scripts/make-venv.sh .venv-goldens scripts/requirements-goldens.txt
    BENCH_PYTHON=.venv-goldens/bin/python
fi
# One of them is published as source only.
scripts/make-venv.sh .venv-trainers scripts/requirements-trainers.txt --no-deps --no-binary antlr4-python3-runtime
PYTHONPATH=$(.venv-trainers/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export PYTHONPATH
cargo build --locked --bin worldpm-ort
"$BENCH_PYTHON" tests/trainers_check.py --binary target/debug/worldpm-ort
