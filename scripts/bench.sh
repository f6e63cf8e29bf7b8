#!/usr/bin/env bash
# make bench: worldpm-ort against transformers on a 0.5B-shaped model with random weights. Needs torch and transformers:
# installs them into .venv-goldens (several GB), unless BENCH_PYTHON names a Python that has them. Takes 10 to 20
# minutes; BENCH_EXPORT goes to the export, as in BENCH_EXPORT="--precision w8a8"; BENCH_ARGS goes to scripts/bench.py, as in: make bench BENCH_ARGS="--rounds 3 --workloads '4 pairs'"
set -euo pipefail
cd "$(dirname "$0")/.."
folder=demo/bench
threads=${BENCH_THREADS:-2}

if [ -z "${BENCH_PYTHON:-}" ]; then
    scripts/make-venv.sh .venv-goldens scripts/requirements-goldens.txt
    BENCH_PYTHON=.venv-goldens/bin/python
fi
cargo build --locked --release --bin worldpm-ort --example score_rounds
rm -rf "$folder/checkpoint" "$folder/bundle"
target/release/worldpm-ort synth --shape 0.5b --head two --out "$folder/checkpoint"
target/release/worldpm-ort export --checkpoint "$folder/checkpoint" --out "$folder/bundle" --probes off ${BENCH_EXPORT:-}
eval "arguments=(${BENCH_ARGS:-})"
# Both sides get the same cores.
taskset -c "0-$((threads - 1))" "$BENCH_PYTHON" scripts/bench.py --checkpoint "$folder/checkpoint" \
    --bundle "$folder/bundle" --out "$folder" --threads "$threads" "${arguments[@]}"
