#!/usr/bin/env bash
# make demo: the whole way from a checkpoint to scores, on a tiny model with random weights. Shows what it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-release}
folder=${profile/dev/debug} # where cargo puts the dev profile

step() {
    printf '\n# %s\n' "$1"
}
run() {
    printf '$ %s\n' "$*"
    "$@"
}

step "1. The ONNX Runtime library, from its pinned Python wheel"
run "${PYTHON:-python3}" scripts/fetch-onnxruntime.py

step "2. Build"
run ${CARGO_BUILD:-cargo build --locked} --profile "$profile"
worldpm_ort=target/$folder/worldpm-ort

step "3. A tiny checkpoint in the layout of WorldPM-72B, with random weights"
run rm -rf demo/checkpoint demo/bundle
run "$worldpm_ort" synth --shape tiny --out demo/checkpoint
run ls -sh demo/checkpoint

step "4. Export it as two stages (each could run on its own GPU)"
run "$worldpm_ort" export --checkpoint demo/checkpoint --out demo/bundle --stages 2
run ls -sh demo/bundle

step "5. Score the two conversations of WorldPM-72B's model card"
run cat models/worldpm-72b/sleep.jsonl
run "$worldpm_ort" score --model demo/bundle --input models/worldpm-72b/sleep.jsonl --output demo/scores.jsonl
run cat demo/scores.jsonl

cat <<'END'

These weights are random, so the scores mean nothing. With the real WorldPM-72B weights, the same two conversations
score as its model card says (models/worldpm-72b/sleep.published.jsonl):
END
cat models/worldpm-72b/sleep.published.jsonl
