# Works from a clean clone with a Rust toolchain, Python 3.11 or newer with pip, and make. Nothing is installed outside
# this folder. Another Python: make PYTHON=/path/to/python3.12 ...
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

export PYTHON ?= python3
# How `make demo` builds: release as users do, or dev to share the build with `make test`.
PROFILE ?= release
# How the command is built for a check or a demo. `make test` says `:`, since `cargo test` has built it already, with the
# features that tests add to its dependencies: without them some hundred crates would be compiled once more.
export CARGO_BUILD ?= cargo build --locked

.PHONY: help demo test test-gpu check ep-check plugin-check bench bench-pipeline compare measure measure-precision measure-pipeline \
	measure-openvino measure-serving measure-streamed measure-trained soak fuzz job-kills endpoint-kill bulk-rate onnx-check hub-check clients-check data-check stores-check page-check trainers-check goldens library

help:
	@sed -n 's/^## //p' Makefile

## make demo        fetch ONNX Runtime, build, make a tiny model, export it and score two conversations
demo:
	@PROFILE=$(PROFILE) scripts/demo.sh

## make test        every test: Rust, documentation examples, exported graphs in plain Python onnxruntime, and clients of the server
test: library
	cargo test --workspace --locked --no-fail-fast
	@$(MAKE) CARGO_BUILD=: onnx-check
	@$(MAKE) CARGO_BUILD=: hub-check
	@$(MAKE) CARGO_BUILD=: clients-check

## make test-gpu    every check that needs a GPU; without one it is skipped, with exit status 77, and is no success
test-gpu: library
	@$(PYTHON) scripts/fetch-onnxruntime.py --gpu
	$(CARGO_BUILD)
	@$(PYTHON) tests/gpu_check.py

## make check       format, clippy, docs, layering rules, dependency policy
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --all-targets --no-default-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	$(PYTHON) scripts/check-layers.py
	$(PYTHON) scripts/check-deps.py

## make onnx-check  export bundles of every form, check them with onnx, score them with Python onnxruntime
onnx-check: library
	@scripts/make-venv.sh .venv-check scripts/requirements-check.txt
	@scripts/make-venv.sh .venv-schemas scripts/requirements-schemas.txt --no-deps
	$(CARGO_BUILD)
	.venv-check/bin/python tests/onnx_check.py --binary target/debug/worldpm-ort
	.venv-check/bin/python tests/padded_check.py --binary target/debug/worldpm-ort
	.venv-check/bin/python tests/heads_check.py --binary target/debug/worldpm-ort
	.venv-check/bin/python tests/serving_check.py --binary target/debug/worldpm-ort --schemas .venv-schemas
	.venv-check/bin/python tests/precision_check.py --binary target/debug/worldpm-ort

## make hub-check   share a cache with Python's huggingface_hub, over a hub on loopback
hub-check:
	@scripts/make-venv.sh .venv-check scripts/requirements-check.txt
	$(CARGO_BUILD) --bin worldpm-ort --example hub_server
	.venv-check/bin/python tests/hub_check.py --binary target/debug/worldpm-ort --server target/debug/examples/hub_server

## make clients-check   ask a server with tritonclient, openai, and what verl, OpenRLHF and slime send
clients-check: library
	@scripts/make-venv.sh .venv-clients scripts/requirements-clients.txt
	$(CARGO_BUILD) --bin worldpm-ort --example token_ids
	.venv-clients/bin/python tests/clients_check.py --binary target/debug/worldpm-ort --token-ids target/debug/examples/token_ids

## make data-check  data sets to and from datasets, pandas, pyarrow, polars and DuckDB, and by name: the same rows and types
data-check: library
	@scripts/make-venv.sh .venv-data scripts/requirements-data.txt
	$(CARGO_BUILD) --bin worldpm-ort --example hub_server
	.venv-data/bin/python tests/data_check.py --binary target/debug/worldpm-ort
	.venv-data/bin/python tests/hub_data_check.py --binary target/debug/worldpm-ort --server target/debug/examples/hub_server

## make stores-check   objects of Azure and Google Cloud Storage, over Azurite (which needs Node.js) and fake-gcs-server
stores-check: library
	@scripts/make-venv.sh .venv-stores scripts/requirements-stores.txt
	@test -d .venv-stores/node_modules/azurite || npm install --silent --no-audit --no-fund --prefix .venv-stores azurite@3.37.0
	$(CARGO_BUILD) --bin worldpm-ort
	.venv-stores/bin/python tests/stores_check.py --binary target/debug/worldpm-ort --azurite .venv-stores/node_modules

## make page-check  the page of `serve` in Chromium without a display, which has to be installed (BROWSER=/path/to/it)
page-check: export BROWSER ?= $(firstword $(shell command -v chromium chromium-browser google-chrome))
page-check: library
	@test -n "$(BROWSER)" || { echo "page-check: no Chromium; install one, or name it with BROWSER=" >&2; exit 1; }
	@scripts/make-venv.sh .venv-page scripts/requirements-page.txt
	$(CARGO_BUILD) --bin worldpm-ort
	.venv-page/bin/python tests/page_check.py --binary target/debug/worldpm-ort --browser "$(BROWSER)"

## make trainers-check   ask a server with the reward clients of verl and OpenRLHF (installs torch, as goldens does)
trainers-check: library
	@scripts/trainers-check.sh

## make ep-check    ask NVIDIA's providers of the real GPU build for devices that are not there (fetches 250 MB once)
ep-check:
	@$(PYTHON) scripts/fetch-onnxruntime.py --gpu
	$(CARGO_BUILD)
	@$(PYTHON) tests/ep_check.py

## make plugin-check   score with a provider in a library of its own, WebGPU, on a Vulkan device (one in software will do)
plugin-check: library
	@scripts/make-venv.sh .venv-plugin scripts/requirements-plugin.txt
	$(CARGO_BUILD)
	.venv-plugin/bin/python tests/plugin_check.py --binary target/debug/worldpm-ort

## make bench       compare with transformers side by side (installs torch unless BENCH_PYTHON names a Python that has it)
bench: library
	@scripts/bench.sh

## make bench-pipeline   how near the pipeline comes to its slowest stage's rate, over simulated devices
bench-pipeline:
	cargo bench --locked --bench pipeline

## make compare     compare the export with optimum-onnx and onnxruntime-genai's builder (installs torch, twice)
compare: library
	@scripts/compare.sh

## make measure     export of the 72B layout, memory, and a million records: wall time and peak memory
measure: library
	cargo build --locked --release --bin worldpm-ort
	@$(PYTHON) scripts/measure.py

## make measure-precision   converting weights against a plain copy of them, and what scoring becomes, at real widths
measure-precision: library
	cargo build --locked --release --bin worldpm-ort
	@$(PYTHON) scripts/measure-precision.py $(MEASURE)

## make measure-pipeline   two stages that divide the cores against one session that has them all, in alternating rounds
measure-pipeline: library
	cargo build --locked --release --bin worldpm-ort
	@$(PYTHON) scripts/measure-pipeline.py $(MEASURE)

## make soak        whether memory grows in an hour of mixed load; SOAK_SECONDS=180 for less
soak: library
	@scripts/soak.sh

## make fuzz        inputs spoiled at random, for every parser, and kills at random moments; FUZZ_SECONDS=3600 FUZZ_SEED=1
fuzz: export FUZZ_SECONDS := $(or $(FUZZ_SECONDS),600)
fuzz: export FUZZ_SEED := $(or $(FUZZ_SEED),1000)
fuzz: library
	cargo test --locked --test fuzz -- --nocapture

## make job-kills   two processes on one job of 20,000 records, killed at 50 random moments; then the same of a Parquet file
job-kills: library
	cargo build --locked --release --bin worldpm-ort
	@$(PYTHON) scripts/job-kills.py --binary target/release/worldpm-ort $(JOB_KILLS)
	@$(PYTHON) scripts/job-kills.py --binary target/release/worldpm-ort --parquet $(JOB_KILLS)

## make endpoint-kill   100,000 records by two servers, one of which is killed midway
endpoint-kill: library
	cargo build --locked --release --bin worldpm-ort
	@$(PYTHON) scripts/endpoint-kill.py --binary target/release/worldpm-ort $(ENDPOINT_KILL)

## make bulk-rate   records through all but the model, from and to JSON Lines and Parquet, and in jobs; RECORDS=10000000
bulk-rate: RECORDS ?= 1000000
bulk-rate: library
	cargo build --locked --release --bin worldpm-ort --example bulk_rate --example fake_command
	@scripts/bulk-rate.sh $(RECORDS)

## make measure-serving   64 clients with one conversation each against score, in turns; MEASURE="--model BUNDLE"
measure-serving: library
	cargo build --locked --release --bin worldpm-ort --example serve_load
	@$(PYTHON) scripts/measure-serving.py --binary target/release/worldpm-ort --load target/release/examples/serve_load $(MEASURE)

## make measure-streamed  all layers of the 72B shape, one in memory at a time
measure-streamed: library
	cargo build --locked --release --bin worldpm-ort
	@$(PYTHON) scripts/measure-streamed.py $(MEASURE)

## make measure-trained   what each precision does to scores of trained weights (fetches 93 MB; installs torch unless TRAINED_PYTHON names a Python that has it)
measure-trained: library
	@scripts/measure-trained.sh $(MEASURE)

## make measure-openvino  whether OpenVINO's provider is a way to score in bf16 on a CPU (installs torch unless OPENVINO_PYTHON names a Python that has it)
measure-openvino: library
	@scripts/measure-openvino.sh $(MEASURE)

## make goldens     make the golden scores and token ids again with transformers (installs torch, as bench does)
goldens: library
	@scripts/goldens.sh

library:
	@$(PYTHON) scripts/fetch-onnxruntime.py
