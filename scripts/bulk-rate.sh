#!/usr/bin/env bash
# Records through reading, layout, template, tokenizer, planner and writer, on an engine that passes no time: JSON Lines to
# JSON Lines, then to Parquet, then Parquet to Parquet. Then by the command, without a job and with one: as it is by default,
# without looking for what is the same, and with records brought together by their prompts. The records are made up, and
# removed at the end.
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

job() {
    echo "== score $*"
    local begun=$EPOCHREALTIME
    target/release/examples/fake_command score --quiet --model "$folder/bundle" --input "$folder/a.made-up.jsonl" --output "$folder/d.jsonl" "$@" |&
        grep "peak memory"
    awk -v begun="$begun" -v ended="$EPOCHREALTIME" -v records="$records" \
        'BEGIN { seconds = ended - begun; printf "%d records in %.1f s: %d a second\n", records, seconds, records / seconds }'
    rm -rf "$folder/d.jsonl" "$folder/job"
}
rm "$folder/b.parquet" "$folder/c.parquet"
job
job --job "$folder/job" --deduplicate never
job --job "$folder/job"
job --job "$folder/job" --group-prompts always --deduplicate never
job --job "$folder/job" --group-prompts always
