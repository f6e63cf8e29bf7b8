#!/usr/bin/env bash
# make goldens: makes the golden files again. Needs torch and transformers: installs them into .venv-goldens (several
# GB), unless BENCH_PYTHON names a Python that has the versions of scripts/requirements-goldens.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${BENCH_PYTHON:-}" ]; then
    scripts/make-venv.sh .venv-goldens scripts/requirements-goldens.txt
    BENCH_PYTHON=.venv-goldens/bin/python
fi
cargo build --locked --release
"$BENCH_PYTHON" tests/fixtures/scores/make_score_goldens.py --binary target/release/worldpm-ort
"$BENCH_PYTHON" tests/fixtures/steps/make_step_goldens.py --binary target/release/worldpm-ort
"$BENCH_PYTHON" tests/fixtures/adapters/make_adapter_goldens.py --binary target/release/worldpm-ort
"$BENCH_PYTHON" tests/fixtures/config_fields/make_config_goldens.py --binary target/release/worldpm-ort
