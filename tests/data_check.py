#!/usr/bin/env python3
"""Data sets to and from the tools that people have: what they write is read here, and what is written here opens there,
with the same rows and types.

    make data-check     (or: python tests/data_check.py --binary target/debug/worldpm-ort)

Needs datasets, pandas, pyarrow, polars and duckdb.
"""

import argparse
import datetime
import decimal
import json
import os
import subprocess
import tempfile
from pathlib import Path

# Nothing is downloaded, and nothing is kept but below the folder of this run.
WORK = Path(tempfile.mkdtemp(prefix="data_check."))
os.environ |= {"HF_HOME": str(WORK / "home"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import datasets  # noqa: E402 (after its settings)
import duckdb  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.compute  # noqa: E402
import pyarrow.csv  # noqa: E402
import pyarrow.feather  # noqa: E402
import pyarrow.ipc  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from check_support import Checks, make_model  # noqa: E402

ROWS = 50
ADDED = ["score", "tokens", "truncated"]
check = Checks("data_check")


def attempt(binary, model, inputs, output, *flags):
    command = [binary, "score", "--model", model, "--output", output, *flags]
    for given in inputs if isinstance(inputs, list) else [inputs]:
        command += ["--input", given]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def score(*args):
    result = attempt(*args)
    check(f"{args[2]} is scored to {args[3]}: {result.stderr.strip()}", result.returncode == 0)


def messages(number):
    return [
        {"role": "user", "content": f"Why {number}?\n\"Say\", please; é😀"},
        {"role": "assistant", "content": f"So {number}."},
    ]


def conversations():
    return [
        {
            "id": number,
            "messages": messages(number),
            "source": ["web", "book", None][number % 3],
            "weight": number / 4 if number % 5 else None,
            "good": number % 2 == 0,
            "tags": [f"t{at}" for at in range(number % 4)],
        }
        for number in range(ROWS)
    ]


def strings():
    return [
        {"id": number, "prompt": f"Why {number}?\nSay, \"please\"; é", "response": f" So {number}. ", "note": None if number % 3 else "n"}
        for number in range(ROWS)
    ]


def all_types():
    """Types that only tables have, beside what is scored."""
    number = range(ROWS)
    moment = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456)
    message = pa.struct([("role", pa.string()), ("content", pa.large_string()), ("tool_calls", pa.list_(pa.string()))])
    turns = [[message | {"tool_calls": None} for message in messages(at)] for at in number]
    columns = {
        "messages": pa.array(turns, pa.large_list(message)),
        "i8": pa.array([at % 100 for at in number], pa.int8()),
        "u64": pa.array([2**63 + at for at in number], pa.uint64()),
        "half": pa.array([at / 2 for at in number], pa.float16()),
        "f32": pa.array([at / 3 for at in number], pa.float32()),
        "money": pa.array([decimal.Decimal(at) / 4 for at in number], pa.decimal128(12, 2)),
        "day": pa.array([datetime.date(2024, 1, 1 + at % 28) for at in number]),
        "clock": pa.array([datetime.time(at % 24, 3, 4) for at in number], pa.time64("us")),
        "local": pa.array([moment for _ in number], pa.timestamp("us")),
        "zoned": pa.array([moment for _ in number], pa.timestamp("ms", "Europe/Berlin")),
        "took": pa.array([datetime.timedelta(seconds=at) for at in number], pa.duration("s")),
        "kind": pa.array([["x", "y", None][at % 3] for at in number]).dictionary_encode(),
        "picture": pa.array([{"bytes": bytes([at]), "path": None} for at in number],
                            pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "fixed": pa.array([[at, at + 1] for at in number], pa.list_(pa.int32(), 2)),
        "counts": pa.array([[("a", at)] for at in number], pa.map_(pa.string(), pa.int64())),
        "nothing": pa.nulls(ROWS),
    }
    fields = [pa.field(name, array.type, metadata={"about": name}) for name, array in columns.items()]
    return pa.table(list(columns.values()), schema=pa.schema(fields, metadata={"made": "by hand"}))


def writers(work):
    """Files of each tool, with the rows that they hold."""
    nested, flat = conversations(), strings()
    table = pa.Table.from_pylist(nested)
    frame, flat_frame = pd.DataFrame(nested), pd.DataFrame(flat)

    for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
        path = work / f"pyarrow.{codec}.parquet"
        pq.write_table(table, path, compression=codec, row_group_size=7, data_page_version="2.0" if codec == "zstd" else "1.0")
        yield path, nested
    pq.write_table(table, work / "checked.parquet", write_page_checksum=True, use_dictionary=False)
    yield work / "checked.parquet", nested
    for codec in [None, "lz4", "zstd"]:
        path = work / f"pyarrow.{codec}.arrow"
        options = pa.ipc.IpcWriteOptions(compression=codec)
        with pa.ipc.new_file(path, table.schema, options=options) as file:
            file.write_table(table, max_chunksize=9)
        yield path, nested
        path = work / f"pyarrow.{codec}.arrows"
        with pa.ipc.new_stream(path, table.schema, options=options) as stream:
            stream.write_table(table, max_chunksize=9)
        yield path, nested
    pa.feather.write_feather(table, work / "pyarrow.feather")
    yield work / "pyarrow.feather", nested
    pa.csv.write_csv(pa.Table.from_pylist(flat), work / "pyarrow.csv")
    yield work / "pyarrow.csv", flat

    frame.to_parquet(work / "pandas.parquet")
    yield work / "pandas.parquet", nested
    frame.set_index("id", drop=False).rename_axis("at").to_parquet(work / "indexed.parquet")
    yield work / "indexed.parquet", nested
    frame.to_json(work / "pandas.jsonl", orient="records", lines=True)
    yield work / "pandas.jsonl", nested
    frame.to_json(work / "pandas.json.gz", orient="records")
    yield work / "pandas.json.gz", nested
    for name in ["pandas.csv", "pandas.csv.gz", "pandas.csv.zst"]:
        flat_frame.to_csv(work / name, index=False)
        yield work / name, flat
    flat_frame.to_csv(work / "pandas.tsv", index=False, sep="\t", lineterminator="\r\n")
    yield work / "pandas.tsv", flat
    flat_frame.to_csv(work / "marked.csv", index=False, encoding="utf-8-sig", quoting=1)
    yield work / "marked.csv", flat
    written = frame.assign(messages=frame["messages"].map(json.dumps))[["id", "messages"]]
    written.to_csv(work / "messages.csv", index=False)
    yield work / "messages.csv", nested

    pl.DataFrame(nested).write_parquet(work / "polars.parquet")
    yield work / "polars.parquet", nested
    pl.DataFrame(nested).write_ipc_stream(work / "polars.arrows")
    yield work / "polars.arrows", nested
    pl.DataFrame(nested).write_ndjson(work / "polars.jsonl")
    yield work / "polars.jsonl", nested
    pl.DataFrame(flat).write_csv(work / "polars.csv")
    yield work / "polars.csv", flat

    source = work / "pandas.parquet"
    duckdb.sql(f"COPY (FROM '{source}') TO '{work}/duckdb.parquet' (COMPRESSION zstd)")
    yield work / "duckdb.parquet", nested
    duckdb.sql(f"COPY (FROM '{source}') TO '{work}/duckdb.jsonl.gz' (FORMAT json, COMPRESSION gzip)")
    yield work / "duckdb.jsonl.gz", nested
    duckdb.sql(f"COPY (FROM '{source}') TO '{work}/duckdb.json' (FORMAT json, ARRAY true)")
    yield work / "duckdb.json", nested
    duckdb.sql(f"COPY (FROM '{work}/pandas.csv') TO '{work}/duckdb.csv' (HEADER)")
    yield work / "duckdb.csv", flat

    made = datasets.Dataset.from_list(nested)
    made.save_to_disk(work / "saved", num_shards=3)
    yield work / "saved", nested
    made.to_parquet(work / "datasets.parquet")
    yield work / "datasets.parquet", nested
    made.to_json(work / "datasets.jsonl")
    yield work / "datasets.jsonl", nested
    datasets.Dataset.from_list(flat).to_csv(work / "datasets.csv")
    yield work / "datasets.csv", flat


def same(one, other):
    """Equal, where a float may be the same number as an integer and NaN is nothing."""
    if isinstance(one, float) and one != one:
        one = None
    if isinstance(other, float) and other != other:
        other = None
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


def what_they_write(binary, model, work):
    """Every file gives the scores that its rows give as JSON Lines, and comes back with its columns."""
    scores = {}
    for name, rows in [("nested", conversations()), ("flat", strings())]:
        source = work / f"{name}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        score(binary, model, source, work / f"{name}.scores.jsonl")
        scores[name] = [json.loads(line)["score"] for line in open(work / f"{name}.scores.jsonl")]
    for path, rows in writers(work):
        expected = scores["nested" if "messages" in rows[0] else "flat"]
        out = work / "out.jsonl"
        score(binary, model, path, out)
        lines = [json.loads(line) for line in open(out)]
        check(f"{path.name} gives the same scores", [line["score"] for line in lines] == expected)
        is_text = ".csv" in path.name or ".tsv" in path.name
        for line, row in zip(lines, rows, strict=True):
            for name in line.keys() & row.keys():
                # Cells are text.
                given = line[name]
                if is_text and given is not None:
                    check(f"{path.name}: {name}", given == row[name] or json.loads(given) == row[name])
                else:
                    check(f"{path.name}: {name}: {given!r} is {row[name]!r}", same(given, row[name]))
        if path.suffix in {".parquet", ".arrow", ".arrows", ".feather"}:
            opened_again(binary, model, path, work)


def read_arrow(path):
    with pa.memory_map(str(path)) as source:
        try:
            return pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid:
            return pa.ipc.open_stream(source).read_all()


def read_table(path):
    return pq.read_table(path) if path.suffix == ".parquet" else read_arrow(path)


def check_kept(path, out, given, kept):
    """The columns of `given`, with their types and what is noted of them, then the added ones."""
    names = given.column_names
    check(f"{path.name} to {out.name}: columns", kept.column_names == names + ADDED)
    for field, again in zip(given.schema, kept.schema):
        check(f"{path.name} to {out.name}: {field} is {again}", field.equals(again, check_metadata=False))
    of_given, of_kept = given.schema.metadata or {}, kept.schema.metadata or {}
    check(f"{path.name} to {out.name}: what is noted", of_given.items() <= of_kept.items())
    check(f"{path.name} to {out.name}: values", kept.select(names).cast(given.schema).equals(given))
    added = [str(kept.schema.field(name).type) for name in ADDED]
    check(f"{out.name}: types of added columns", added == ["double", "int64", "bool"])


def opened_again(binary, model, path, work):
    """A table comes out as a table, with its types."""
    given = read_table(path)
    for ending in ["parquet", "arrow", "arrows"]:
        out = work / f"again.{ending}"
        score(binary, model, path, out)
        kept = read_table(out)
        if path.suffix == ".parquet" or ending != "parquet":
            check_kept(path, out, given, kept)
        else:
            names = given.column_names
            check(f"{path.name} to {out.name}", kept.select(names).to_pylist() == given.to_pylist())


def categories_stay(binary, model, work):
    """The order of pandas's categories stays in Arrow's streams, and in Parquet no order is said to be there."""
    frame = pd.DataFrame(strings())
    names = [["high", "low", None][at % 3] for at in range(ROWS)]
    frame["kind"] = pd.Categorical(names, ["never", "low", "middle", "high"], ordered=True)
    sources = {"parquet": work / "categories.parquet", "arrows": work / "categories.arrows"}
    frame.to_parquet(sources["parquet"], row_group_size=20)
    table = pa.Table.from_pandas(frame)
    with pa.ipc.new_stream(sources["arrows"], table.schema) as stream:
        stream.write_table(table, max_chunksize=9)
    for source in sources.values():
        for ending in ["parquet", "arrows"]:
            out = work / f"categories.out.{ending}"
            score(binary, model, source, out)
            kept = read_table(out).to_pandas()["kind"]
            check(f"{source.name} to {out.name}: values", [value if isinstance(value, str) else None for value in kept] == names)
            if ending == "arrows":
                check(f"{source.name} to {out.name}: {kept.dtype!r}", kept.dtype == frame["kind"].dtype)
            else:
                check(f"{source.name} to {out.name}: {kept.dtype!r}", not kept.dtype.ordered)


def types_stay(binary, model, work):
    """Every type of Arrow's, where the format has it."""
    given = all_types()
    sources = {"parquet": work / "types.parquet", "arrows": work / "types.arrows"}
    pq.write_table(given, sources["parquet"], row_group_size=20)
    with pa.ipc.new_stream(sources["arrows"], given.schema) as stream:
        stream.write_table(given)
    for source in sources.values():
        stored = read_table(source)
        for ending in ["parquet", "arrows"]:
            out = work / f"types.out.{ending}"
            score(binary, model, source, out)
            check_kept(source, out, stored, read_table(out))
        refused = attempt(binary, model, source, work / "types.jsonl")
        check(f"durations are no text: {refused.stderr}", refused.returncode == 1 and "`took`" in refused.stderr)
        refused = attempt(binary, model, source, work / "types.arrow")
        check(f"dictionaries are not for files: {refused.stderr}", refused.returncode == 1 and "`kind`" in refused.stderr)
    plain = given.drop_columns(["took", "picture"])
    pq.write_table(plain, work / "plain.parquet")
    score(binary, model, work / "plain.parquet", work / "plain.jsonl")
    # What datasets gives too, which has no maps.
    as_python = pq.read_table(work / "plain.parquet").to_pylist()
    for line, row in zip(open(work / "plain.jsonl"), as_python, strict=True):
        line = json.loads(line, parse_float=decimal.Decimal)
        for name, value in row.items():
            shown = line[name]
            if name == "zoned":
                shown, value = datetime.datetime.fromisoformat(shown), value.astimezone(datetime.timezone.utc)
            elif isinstance(value, (datetime.date, datetime.time)):
                shown = type(value).fromisoformat(shown)
            elif name == "counts":
                value = [list(pair) for pair in value]
            elif isinstance(value, float):
                shown = float(shown)
            check(f"{name}: {shown!r} is what Python has: {value!r}", same(shown, value))


def what_is_written(binary, model, work):
    """Each tool opens what is written, and sees the same rows and types."""
    source = work / "nested.jsonl"
    rows = conversations()
    expected = [json.loads(line) for line in open(work / "nested.scores.jsonl")]
    full = [row | {"score": of["score"], "tokens": of["tokens"]} for row, of in zip(rows, expected, strict=True)]

    def holds(what, found):
        found = [{name: row.get(name) for name in full[0]} for row in found]
        for one, other in zip(found, full, strict=True):
            check(f"{what}: {one} is {other}", same(one, other))

    def plain(frame):
        return json.loads(frame.to_json(orient="records", double_precision=15))

    def close(what, found):
        for one, other in zip(found, full, strict=True):
            check(f"{what}: {one}", abs(one["score"] - other["score"]) < 1e-9 and one["id"] == other["id"])
            check(f"{what}: {one}", one["messages"] == other["messages"] and one["tags"] == other["tags"])

    for name in ["w.parquet", "w.arrow", "w.arrows", "w.jsonl", "w.jsonl.gz", "w.jsonl.zst", "w.json", "w.json.gz"]:
        out = work / name
        score(binary, model, source, out)
        if out.suffix == ".parquet":
            holds("pyarrow", pq.read_table(out).to_pylist())
            holds("polars", pl.read_parquet(out).to_dicts())
            holds("duckdb", duckdb.sql(f"FROM '{out}'").to_arrow_table().to_pylist())
            holds("datasets", list(datasets.Dataset.from_parquet(str(out))))
            close("pandas", plain(pd.read_parquet(out)))
            types = {name: str(kind) for name, kind in zip(*[getattr(duckdb.sql(f"FROM '{out}'"), of) for of in ["columns", "types"]])}
            check(f"types in duckdb: {types}", types["id"] == "BIGINT" and types["score"] == "DOUBLE" and types["good"] == "BOOLEAN"
                  and types["messages"] == 'STRUCT("role" VARCHAR, "content" VARCHAR)[]' and types["tags"] == "VARCHAR[]")
        elif out.suffix == ".arrow":
            holds("pyarrow", read_arrow(out).to_pylist())
            holds("polars", pl.read_ipc(out).to_dicts())
            holds("feather", pd.read_feather(out).pipe(lambda frame: pa.Table.from_pandas(frame).to_pylist()))
        elif out.suffix == ".arrows":
            holds("pyarrow", read_arrow(out).to_pylist())
            holds("polars", pl.read_ipc_stream(out).to_dicts())
            holds("datasets", list(datasets.Dataset.from_file(str(out))))
        else:
            is_lines = "jsonl" in name
            close("pandas", plain(pd.read_json(out, orient="records", lines=is_lines)))
            holds("duckdb", duckdb.sql(f"FROM read_json('{out}')").to_arrow_table().to_pylist())
            # It reads ten digits of a number.
            close("datasets", list(datasets.Dataset.from_json(str(out))))
            if name == "w.jsonl":
                holds("polars", pl.read_ndjson(out).to_dicts())

    flat = [json.loads(line) for line in open(work / "flat.jsonl")]
    flat_scores = [json.loads(line)["score"] for line in open(work / "flat.scores.jsonl")]
    for name in ["w.csv", "w.csv.gz", "w.tsv"]:
        out = work / name
        score(binary, model, work / "flat.jsonl", out)
        separator = "\t" if ".tsv" in name else ","
        found = {
            "pandas": pd.read_csv(out, sep=separator).to_dict("records"),
            "polars": pl.read_csv(out, separator=separator).to_dicts(),
            "duckdb": duckdb.sql(f"FROM read_csv('{out}', delim='{separator}', header=true)").to_arrow_table().to_pylist(),
            "datasets": list(datasets.Dataset.from_csv(str(out), sep=separator)),
        }
        for tool, read in found.items():
            for row, given, expected_score in zip(read, flat, flat_scores, strict=True):
                check(f"{tool} reads {name}: {row}", all(same(row[key], given[key]) for key in given))
                check(f"{tool} reads {name}: {row}", row["score"] == expected_score)


def splits(binary, model, work):
    """A folder of several data sets is refused, and each of them is read."""
    made = datasets.Dataset.from_list(conversations())
    datasets.DatasetDict({"train": made, "test": made.select(range(5))}).save_to_disk(work / "dict")
    refused = attempt(binary, model, work / "dict", work / "dict.jsonl")
    check(f"splits are named: {refused.stderr}", refused.returncode == 1 and "train, test" in refused.stderr)
    score(binary, model, work / "dict/test", work / "dict.jsonl")
    check("a split is read", len(open(work / "dict.jsonl").readlines()) == 5)


def pairs(binary, model, work):
    """UltraFeedback's own columns are not written over by accident."""
    rows = [
        {
            "prompt": f"Why {number}?",
            "chosen": messages(number),
            "rejected": [messages(number)[0], {"role": "assistant", "content": "No."}],
            "score_chosen": 8.0,
            "score_rejected": 3.0,
        }
        for number in range(5)
    ]
    for row in rows:
        row["prompt"] = row["chosen"][0]["content"]
    datasets.Dataset.from_list(rows).to_parquet(work / "pairs.parquet")
    out = work / "pairs.out.parquet"
    refused = attempt(binary, model, work / "pairs.parquet", out)
    check(f"a taken name is told: {refused.stderr}", refused.returncode == 1 and "score_chosen" in refused.stderr)
    score(binary, model, work / "pairs.parquet", out, "--added-prefix", "rm_")
    frame = pd.read_parquet(out)
    check("both columns are there", (frame["score_chosen"] == 8.0).all() and frame["rm_score_chosen"].notna().all())
    margins = frame["rm_score_chosen"] - frame["rm_score_rejected"]
    check("the margin is the difference", (abs(margins - frame["rm_margin"]) < 1e-6).all())


def filtered(binary, _, work):
    """Rows that `filter` keeps have their columns and types, and are those that each tool would keep."""
    scores = [number * 7919 % ROWS / 8 - 2 for number in range(ROWS)]
    given = all_types().append_column("score", pa.array(scores, pa.float32()))
    bound = np.percentile(scores, 80)
    expected = given.filter(pa.compute.greater_equal(given["score"], float(bound)))
    check("some rows are kept", 0 < len(expected) < ROWS / 3)
    # In parts of which few rows each are kept, and in one.
    for size in [3, ROWS]:
        pq.write_table(given, work / "scored.parquet", row_group_size=size)
        with pa.ipc.new_stream(work / "scored.arrows", given.schema) as stream:
            stream.write_table(given, max_chunksize=size)
        for source in [work / "scored.parquet", work / "scored.arrows"]:
            stored = read_table(source)
            for ending in ["parquet", "arrows"]:
                out = work / f"kept.{ending}"
                for flags in [["--top-percent", "20"], ["--min", repr(float(bound))]]:
                    keep(binary, source, out, *flags)
                    kept = read_table(out)
                    what = f"{source.name} by {size} to {out.name} {flags}"
                    check(f"{what}: types: {kept.schema}", kept.schema.equals(stored.schema))
                    both = [(stored.schema, kept.schema), *zip(stored.schema, kept.schema)]
                    noted = all((one.metadata or {}).items() <= (other.metadata or {}).items() for one, other in both)
                    check(f"{what}: what is noted", noted)
                    check(f"{what}: rows", kept.to_pylist() == expected.to_pylist())
    keep(binary, work / "scored.parquet", work / "none.parquet", "--min", "1000")
    none = pq.read_table(work / "none.parquet")
    check("no rows have the types too", len(none) == 0 and none.schema.equals(pq.read_table(work / "scored.parquet").schema))

    frame = pd.DataFrame(conversations()).assign(score=scores, kind=pd.Categorical(["x", "y"] * (ROWS // 2)))
    frame = frame.assign(when=pd.Timestamp("2024-05-06", tz="Europe/Berlin"))
    for name, one in [("plain", frame), ("indexed", frame.set_index(frame["id"].map("r{}".format)))]:
        one.to_parquet(work / f"{name}.parquet")
        out = work / f"{name}.kept.parquet"
        keep(binary, work / f"{name}.parquet", out, "--percentile", "25..75")
        low, high = one["score"].quantile([0.25, 0.75])
        wanted = one[one["score"].between(low, high)]
        wanted = wanted.reset_index(drop=True) if name == "plain" else wanted
        # Parquet has the values of categories, in the order in which they come.
        pd.testing.assert_frame_equal(pd.read_parquet(out), wanted, check_categorical=False)
    polars = pl.DataFrame(conversations()).with_columns(
        pl.Series("score", scores), pl.Series("kind", ["x", "y"] * (ROWS // 2), dtype=pl.Categorical))
    polars.write_parquet(work / "polars.scored.parquet")
    keep(binary, work / "polars.scored.parquet", work / "polars.kept.parquet", "--top", "7")
    again = pl.read_parquet(work / "polars.kept.parquet")
    wanted = polars.filter(pl.col("score").rank("ordinal", descending=True) <= 7)
    check(f"polars: {again.schema}", again.schema == polars.schema and again.equals(wanted))


def keep(binary, source, out, *flags):
    command = [binary, "filter", "--input", source, "--output", out, *flags]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    check(f"{source} is filtered to {out}: {result.stderr.strip()}", result.returncode == 0)


def polars_files(binary, model, work):
    """The files (not streams) of polars do not begin with a message, which is told, and nothing is made up."""
    pl.DataFrame(conversations()).write_ipc(work / "polars.arrow")
    refused = attempt(binary, model, work / "polars.arrow", work / "polars.out.jsonl")
    check(f"it is told: {refused.stderr}", refused.returncode == 1 and "polars.arrow: it cannot be read as Arrow" in refused.stderr)


def damage(binary, model, work):
    """A page whose checksum is wrong is told by row group and column, and the rows before it are scored."""
    path, out = work / "damaged.parquet", work / "damaged.jsonl"
    pq.write_table(pa.Table.from_pylist(strings()), path, row_group_size=20, write_page_checksum=True, use_dictionary=False)
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(2)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size - 3] ^= 1
    path.write_bytes(content)
    place = "row 21: row group 2 of 3, column `response` cannot be read"
    refused = attempt(binary, model, path, out, "--only-scores")
    check(f"the place is told: {refused.stderr}", refused.returncode == 1 and place in refused.stderr and not out.exists())
    result = attempt(binary, model, path, out, "--only-scores", "--keep-going")
    lines = [json.loads(line) for line in open(out)]
    check("the rows before it are scored", [line["id"] for line in lines[:-1]] == list(range(20)))
    check(f"the last line tells: {lines[-1]}", result.returncode == 1 and place in lines[-1]["error"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=Path)
    binary = parser.parse_args().binary.resolve()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=WORK) as work:
        work = Path(work)
        model = make_model(binary, work)
        for part in [what_they_write, types_stay, categories_stay, what_is_written, splits, pairs, filtered, polars_files, damage]:
            before = check.passed
            part(binary, model, work)
            print(f"data_check: {part.__name__}: {check.passed - before} checks")


if __name__ == "__main__":
    try:
        main()
    finally:
        subprocess.run(["rm", "-rf", str(WORK)], check=False)
