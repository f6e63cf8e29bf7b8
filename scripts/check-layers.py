#!/usr/bin/env python3
"""Checks the rules of the architecture that a search can check: which file may name which crate, that no files use each
other in a circle, and file sizes."""

import re
import sys
import tomllib
from pathlib import Path

sys.dont_write_bytecode = True

from rust_circles import Crate, circles, shortest_circle  # noqa: E402 (after it, so that no folder of bytecode is made)

ROOT = Path(__file__).resolve().parent.parent

# crate: the only places that may name it. Folders end in "/".
ONLY_IN = {
    "ort": ["runtime/src/ep/", "runtime/src/engine/"],
    "clap": ["src/cli/"],
    "indexmap": ["runtime/src/json/", "template/src/"],
    "indicatif": ["src/cli/"],
    "anyhow": ["src/cli/", "src/main.rs"],
    "worldpm_ort_data": ["src/cli/"],
    "worldpm_ort_stores": ["data/src/", "src/cli/common/objects.rs"],
    "object_store": ["stores/"],
    "reqwest": ["stores/"],
    "saphyr_parser": ["runtime/src/hub/data_set/card.rs"],
    "arrow_array": ["data/src/row.rs", "data/src/table/", "data/src/write/columns.rs", "data/src/write/table/"],
    "arrow_buffer": ["data/src/table/", "data/src/write/"],
    "arrow_ipc": ["data/src/table/", "data/src/write/table/file.rs"],
    "arrow_schema": ["data/src/shape.rs", "data/src/table/", "data/src/write/columns.rs", "data/src/write/table/"],
    "arrow_select": ["data/src/table/"],
    "parquet": ["data/src/table/parquet.rs", "data/src/write/table/file.rs"],
    "csv": ["data/src/row.rs", "data/src/rows/cells.rs"],
    "flate2": ["data/src/input.rs", "data/src/write/encoder.rs"],
    "zstd": ["jobs/src/sort.rs", "jobs/src/spool.rs", "data/src/input.rs", "data/src/write/encoder.rs"],
    "worldpm_ort_template": ["runtime/src/text/"],
    "worldpm_ort_export": [
        "src/",
        "runtime/src/ep/tests.rs",
    ],
    "worldpm_ort_jobs": ["src/cli/score/job/"],
    "num_bigint": ["template/"],
    "rustls": ["runtime/src/http_agent.rs", "runtime/src/hub/", "serve/src/ops/traces/", "serve/src/security/", "stores/src/runtime.rs"],
    "tokenizers": ["runtime/src/text/"],
    "ureq": ["runtime/src/http_agent.rs", "runtime/src/hub/", "runtime/src/remote/", "serve/src/ops/traces/"],
    "tokio_rustls": ["serve/src/net/", "serve/src/security/"],
    "opentelemetry": ["serve/src/ops/traces/"],
    "opentelemetry_otlp": ["serve/src/ops/traces/"],
    "opentelemetry_sdk": ["serve/src/ops/traces/"],
    "prometheus_client": ["serve/src/ops/metrics/"],
    "tracing_subscriber": ["src/cli/serve/"],
    "prost": ["bundle/src/proto/", "bundle/src/graph/model.rs", "serve/src/dialects/oip/grpc/"],
}
# What the batch planner must not know: it sees lengths and token ids only.
NEVER_IN = {"runtime/src/batch/": ["ort", "tokenizers", "ndarray"]}
# Inside a folder these two may use each other: an error of the folder's types, beside what returns it.
PAIRS = [{"mod.rs", "error.rs"}, {"lib.rs", "error.rs"}]
HARD_LIMIT = 800


TEST_MODULE = re.compile(r"^#\[cfg\((all\()?test\b.*\n(#\[.*\n)*(pub(\(\w+\))? )?mod \w+ \{", re.MULTILINE)


def code_lines(text):
    """(line number, code) up to the tests at the bottom of the file, without comments and feature attributes."""
    tests = TEST_MODULE.search(text)
    for number, line in enumerate(text[: tests.start() if tests else None].splitlines(), 1):
        yield number, re.sub(r"//.*|#!?\[cfg_attr\(.*", "", line)


def names(crate, code):
    return re.search(rf"(?<![\w:]){crate}::|\buse {crate}\b|\bextern crate {crate}\b", code)


def check(path):
    where = path.relative_to(ROOT).as_posix()
    lines = list(code_lines(path.read_text()))
    if len(lines) > HARD_LIMIT:
        yield f"{where}: {len(lines)} lines without its tests; the limit is {HARD_LIMIT}"
    for number, code in lines:
        for crate, allowed in ONLY_IN.items():
            if names(crate, code) and not any(where == a or where.startswith(a) for a in allowed):
                yield f"{where}:{number}: `{crate}` may be named in {', '.join(allowed)} only"
        for folder, banned in NEVER_IN.items():
            for crate in banned:
                if where.startswith(folder) and names(crate, code):
                    yield f"{where}:{number}: `{crate}` may not be named in {folder}"


def shown(path):
    return path.relative_to(ROOT).as_posix()


def is_pair(part):
    return len({path.parent for path in part}) == 1 and {path.name for path in part} in PAIRS


def check_circles(crates):
    """Every circle."""
    for src in crates:
        uses = Crate(src).uses()
        if not any(uses.values()):
            yield f"{shown(src)}: no file uses another, which cannot be"
        for part in circles(uses):
            if not is_pair(part):
                circle = " -> ".join(map(shown, shortest_circle(uses, part)))
                yield f"{', '.join(map(shown, part))}: in a circle of {len(part)} files that use one another, as {circle}"


def main():
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    crates = [*(ROOT / member / "src" for member in members), ROOT / "src"]
    files = sorted(path for src in crates for path in src.glob("**/*.rs"))
    problems = [problem for path in files for problem in check(path)]
    problems += check_circles(crates)
    for problem in problems:
        print(f"check-layers: error: {problem}", file=sys.stderr)
    if problems or not files:
        sys.exit(1)
    print(f"check-layers: {len(files)} files keep the rules")


if __name__ == "__main__":
    main()
