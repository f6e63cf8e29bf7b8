#!/usr/bin/env bash
# Records through reading, layout, template, tokenizer, planner and writer, on an engine that passes no time: JSON Lines to
# JSON Lines, then to Parquet, then Parquet to Parquet. The records are made up, and removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
records=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
worldpm_ort=target/release/worldpm-ort
"$worldpm_ort" synth --shape tiny --out "$folder/checkpoint" 2> /dev/null
"$worldpm_ort" export --checkpoint "$folder/checkpoint" --out "$folder/bundle" --probes off 2> /dev/null
run() {
    echo "== $1"
    shift
    target/release/examples/bulk_rate --bundle "$folder/bundle" --records "$records" "$@"
}
run "JSON Lines to JSON Lines" --output "$folder/a.jsonl"
run "JSON Lines to Parquet" --input "$folder/a.made-up.jsonl" --output "$folder/b.parquet"
run "Parquet to Parquet" --input "$folder/b.parquet" --output "$folder/c.parquet"
