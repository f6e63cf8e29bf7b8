#!/usr/bin/env bash
# make soak: whether memory grows while one model scores a mix of everything, with refusals, cancellations and timeouts.
# An hour unless SOAK_SECONDS says otherwise, of which the first tenth is warm-up; the model is of two stages. The last
# lines are the report; what grows is in slope_mb_per_hour.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=demo/soak
seconds=${SOAK_SECONDS:-3600}

cargo build --locked --release --bin worldpm-ort --example soak
rm -rf "$folder"
target/release/worldpm-ort synth --shape tiny --out "$folder/checkpoint"
target/release/worldpm-ort export --checkpoint "$folder/checkpoint" --out "$folder/bundle" --stages 2 --probes off
target/release/examples/soak "$folder/bundle" "$seconds" $((seconds / 10)) ${SOAK_DEVICES:-cpu,cpu} 2> "$folder/samples.txt"
echo "samples: $folder/samples.txt"
