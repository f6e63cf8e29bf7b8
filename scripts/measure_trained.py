#!/usr/bin/env python3
"""How far each precision moves the scores of trained weights, as a multiple of what bf16 of `transformers` does.

    make measure-trained MEASURE="--precisions w8a8 int8 --json drift.json"

Makes a reward model of SmolLM2-135M-Instruct (scripts/trained/checkpoint.py) with heads that are fitted on a part of
some preference pairs, one label each. Every precision is exported and scores all conversations, which have to have the
token ids of `transformers`. The reference is `transformers` in fp32 on the same bf16 weights; the yardstick is
`transformers` in bf16, one conversation at a time, without padding. Two are reported: with the head in bf16, as the
model is loaded, and with the head in fp32. Ratios are to the latter, which is nearer to fp32: rounding a score to bf16
is no part of it.

Scores are scaled so that each head's have a standard deviation of 1 in the reference. A pair's order has changed when
the sign of its margin has. Accuracy is over the pairs that no head was fitted on.

Integers are calibrated on the built-in conversations, on those that the heads are fitted on (own), or not at all (nearest);
some are of a rotated checkpoint.

`--simulate` does not export anything: it rounds the weights here in ways that worldpm-ort may not know, and computes the
rest in fp32 (scripts/trained/simulate.py).

What `transformers` computes is kept in the work folder; exports and scores of worldpm-ort are made anew each time.
"""

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
import torch  # noqa: E402
import transformers  # noqa: E402

import bench  # noqa: E402
from trained import checkpoint, pairs, reference, simulate, speed  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
BUILT_IN, OWN, NEAREST = "--calibrate builtin", "--calibrate {fit}", "--calibrate off"
PRECISIONS = {
    "bf16": "",
    "fp32": "--precision fp32",
    "int8": f"--precision int8 {BUILT_IN}",
    "int8, own conversations": f"--precision int8 {OWN}",
    "int8, nearest": f"--precision int8 {NEAREST}",
    "int8, blocks of 128": f"--precision int8 --block-size 128 {BUILT_IN}",
    "w8a8": f"--precision w8a8 {BUILT_IN}",
    "w8a8, own conversations": f"--precision w8a8 {OWN}",
    "w8a8, nearest": f"--precision w8a8 {NEAREST}",
    "int4": f"--precision int4 {BUILT_IN}",
    "int4, own conversations": f"--precision int4 {OWN}",
    "int4, nearest": f"--precision int4 {NEAREST}",
    "int4, asymmetric": f"--precision int4 --asymmetric {BUILT_IN}",
    "int4, blocks of 128": f"--precision int4 --block-size 128 {BUILT_IN}",
    "int8, rotated": f"{{rotated}} --precision int8 {BUILT_IN}",
    "w8a8, rotated": f"{{rotated}} --precision w8a8 {BUILT_IN}",
    "int4, rotated": f"{{rotated}} --precision int4 {BUILT_IN}",
    "int4, rotated, own conversations": f"{{rotated}} --precision int4 {OWN}",
}


def fail(message):
    raise SystemExit(f"measure-trained: error: {message}")


def run(command, **options):
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode:
        fail(f"{shlex.join(map(str, command))}:\n{done.stderr}")
    return done.stdout


def check_token_ids(options, folder, conversations, expected):
    lines = "".join(json.dumps(c) + "\n" for c in conversations)
    found = [json.loads(line) for line in run([options.token_ids, folder], input=lines).splitlines()]
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if ours != theirs:
            fail(f"conversation {index} is other tokens here than in transformers: {ours}, {theirs}")


def rotated(options, model):
    """The checkpoint with rotated weights: made anew in each run."""
    made = options.work / "rotated"
    if made not in options.made:
        shutil.rmtree(made, ignore_errors=True)
        run([options.binary, "rotate", "--checkpoint", model, "--out", made])
        options.made.add(made)
    return made


def export(options, model, bundle, flags):
    """The command that was run."""
    flags = shlex.split(flags.replace("{fit}", shlex.quote(str(options.work / "fit.jsonl"))))
    if "{rotated}" in flags:
        flags.remove("{rotated}")
        model = rotated(options, model)
    command = [options.binary, "export", "--checkpoint", model, "--out", bundle, "--probes", "off", *flags]
    run(command)
    return shlex.join(map(str, command))


def score(options, bundle, lines, flags, heads, ids):
    """Scores of all conversations by head, and the command that was run."""
    command = [options.binary, "score", "--only-scores", "--model", bundle, "--input", lines, *shlex.split(flags)]
    answers = [json.loads(line) for line in run(command).splitlines()]
    if [answer["tokens"] for answer in answers] != [len(row) for row in ids]:
        fail(f"{bundle} did not score the tokens of transformers")
    return torch.tensor([[answer["scores"][head] for head in heads] for answer in answers]), shlex.join(map(str, command))


def margins(scores):
    return scores[0::2] - scores[1::2]


def compare(scores, exact, fitted):
    """Figures of one head."""
    difference = (scores - exact).double()
    return {
        "rms": difference.square().mean().sqrt().item(),
        "rms_held_out": difference[2 * fitted :].square().mean().sqrt().item(),
        "largest": difference.abs().max().item(),
        "changed": int((margins(scores).sign() != margins(exact).sign()).sum()),
        "accuracy": (margins(scores)[fitted:] > 0).double().mean().item(),
    }


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def figure(value):
    return f"{value:.5f}" if value < 0.001 else f"{value:.3f}"


def tables(result):
    """Tables of ratios, and one for each head."""
    heads, systems = result["heads"], result["systems"]
    found = []
    for over, ratio in {"": "ratio", ", over the pairs held out": "ratio_held_out"}.items():
        rows = []
        for name, system in systems.items():
            ratios = [system["heads"][head][ratio] for head in heads]
            rows.append([name, *(f"{ratio:.2g}" for ratio in ratios), f"{max(ratios):.2g}"])
        found.append(f"Drift (rms) as a multiple of that of transformers in bf16 with the head in fp32{over}:\n")
        found.append(markdown(["", *heads, "worst"], rows) + "\n")
    for head, about in heads.items():
        found.append(
            f"\n**{head}**: accuracy in fp32 {about['accuracy']:.0%} on {result['pairs_held_out']} pairs held out, "
            f"{about['accuracy_fitted']:.0%} on the {result['pairs_fitted']} fitted; scores of those held out "
            f"{about['deviation_held_out']:.2f} apart (standard deviation; 1 over all)\n"
        )
        rows = []
        for name, system in systems.items():
            row = system["heads"][head]
            cells = [figure(row["rms"]), f"{row['ratio']:.2g}", figure(row["largest"]), row["changed"], f"{row['accuracy']:.0%}"]
            rows.append([name, *cells])
        changed = f"orders changed, of {result['pairs']}"
        found.append(markdown(["", "drift, rms", "of bf16's", "largest", changed, "accuracy"], rows))
    return "\n".join(found)


def named(text, kind, known=None):
    """`name` of the known ones, or `name=flags`."""
    name, given, flags = text.partition("=")
    name = name.strip()
    if given:
        return name, flags
    if known is None or name not in known:
        fail(f"{kind} {name}: give name=flags" + (f", or one of {'; '.join(known)}" if known else ""))
    return name, known[name]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "demo/trained", help="folder for what is made [default: demo/trained]")
    parser.add_argument("--pairs", type=Path, help="JSON Lines with `prompt`, `chosen`, `rejected` [default: 110 made ones]")
    parser.add_argument("--fit", type=int, help="pairs that heads are fitted on, the first ones [default: half]")
    parser.add_argument("--precisions", nargs="*", metavar="NAME[=FLAGS]", default=list(PRECISIONS),
                        help="known ones, or NAME=FLAGS of export; {fit} in FLAGS is a file with the conversations of the "
                        "pairs that heads are fitted on, and {rotated} exports a rotated checkpoint "
                        f"[default: {'; '.join(PRECISIONS)}]")  # fmt: skip
    parser.add_argument("--scoring", action="append", default=[], metavar="NAME=FLAGS",
                        help="score every bundle with these flags of score, too; may be repeated")  # fmt: skip
    parser.add_argument("--simulate", nargs="*", metavar="NAME",
                        help="simulate these ways of rounding, or all of METHODS in scripts/trained/simulate.py, instead of "
                        "exporting")  # fmt: skip
    parser.add_argument("--keep-grid", action="store_true", help="leave the weights on the grid of the GGUF file")
    parser.add_argument("--seed", type=int, default=0, help="of the random part of the weights, and of the random head")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="[default: all]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--speed", action="store_true", help="measure speed, too")
    parser.add_argument("--shape", help="measure the speed of this shape of synth, with random weights, and nothing else")
    parser.add_argument("--rounds", type=int, default=5, help="of --speed")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/worldpm-ort")
    parser.add_argument("--token-ids", type=Path, default=ROOT / "target/release/examples/token_ids")
    options = parser.parse_args()
    options.precisions = dict(named(text, "--precisions", PRECISIONS) for text in options.precisions)
    for name in options.simulate or []:
        if name not in simulate.METHODS:
            fail(f"--simulate {name}: give one of {'; '.join(simulate.METHODS)}")
    options.made = set()
    options.scoring = {"": "", **dict(named(text, "--scoring") for text in options.scoring)}
    return options


def about(options):
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": bench.cpu_model(),
        "threads": options.threads,
        "versions": {
            "worldpm-ort": run([options.binary, "--version"]).split()[-1],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "command": shlex.join(sys.argv),
    }


def prepare(options):
    """The reward model, and what transformers makes of the conversations."""
    chosen = pairs.read(options.pairs) if options.pairs else pairs.made()
    fitted = len(chosen) // 2 if options.fit is None else options.fit
    if not 0 < fitted < len(chosen):
        fail(f"{fitted} of {len(chosen)} pairs to fit heads on leaves none on one side: give --fit")
    conversations = pairs.conversations(chosen)
    base = checkpoint.make_base(options.work, options.seed, options.keep_grid)
    ids = reference.token_ids(transformers.AutoTokenizer.from_pretrained(base), conversations)
    hidden = {d: reference.hidden_states(base, ids, d, options.work) for d in (torch.float32, torch.bfloat16)}
    heads = reference.fit_heads(hidden[torch.float32], fitted, options.seed)
    model = checkpoint.make_reward_model(base, heads, options.work / "checkpoint")
    for states in hidden.values():
        if not reference.whole_model_agrees(model, ids[:4], states[:4]):
            fail(f"transformers' scores of {model} in {states.dtype} are not those of the hidden states of {base}")
    if options.simulate is None:
        check_token_ids(options, model, conversations, ids)
    return model, conversations, ids, fitted, heads, hidden


def measure(options):
    model, conversations, ids, fitted, heads, hidden = prepare(options)
    weights = torch.stack(list(heads.values()))
    exact = hidden[torch.float32] @ weights.float().T
    lines = options.work / "conversations.jsonl"
    records = [json.dumps({"messages": conversation}) + "\n" for conversation in conversations]
    lines.write_text("".join(records))
    (options.work / "fit.jsonl").write_text("".join(records[: 2 * fitted]))

    found = {
        "transformers bf16": ((hidden[torch.bfloat16] @ weights.T).float(), []),
        "transformers bf16, head fp32": (hidden[torch.bfloat16].float() @ weights.float().T, []),
    }
    yardstick = list(found)[-1]
    if options.simulate is not None:
        scores_of = lambda states: states @ weights.float().T  # noqa: E731
        base = checkpoint.make_base(options.work, options.seed, options.keep_grid)
        chosen = options.simulate or simulate.METHODS
        for name, scores in simulate.measure(base, ids, 2 * fitted, options.seed, scores_of, exact, chosen).items():
            found[name] = (scores, [])
        options.precisions = {}
    for name, flags in options.precisions.items():
        bundle = options.work / "bundle"
        made = export(options, model, bundle, flags)
        for way, extra in options.scoring.items():
            given = f"--threads {options.threads} {extra}"
            scores, scored = score(options, bundle, lines, given, heads, ids)
            found[f"{name}; {way}" if way else name] = (scores, [made, scored])
            print(f"# {name} {way}", file=sys.stderr, flush=True)

    result = {
        "model": checkpoint.PACKAGE,
        "grid": "kept: flatters 4 bits in blocks of 32" if options.keep_grid else "broken by half a step at random",
        "seed": options.seed,
        "pairs_from": str(options.pairs) if options.pairs else "made",
        "pairs_sha256": hashlib.sha256("".join(records).encode()).hexdigest(),
        "pairs": len(conversations) // 2,
        "pairs_fitted": fitted,
        "pairs_held_out": len(conversations) // 2 - fitted,
        "tokens": [min(map(len, ids)), max(map(len, ids))],
        "heads": {
            head: {
                "accuracy": (margins(column)[fitted:] > 0).double().mean().item(),
                "accuracy_fitted": (margins(column)[:fitted] > 0).double().mean().item(),
                "deviation": column.std().item(),
                "deviation_held_out": column[2 * fitted :].std().item(),
            }
            for head, column in zip(heads, exact.T, strict=True)
        },
        "systems": {},
    }
    for name, (scores, commands) in found.items():
        rows = {head: compare(scores[:, i], exact[:, i], fitted) for i, head in enumerate(heads)}
        result["systems"][name] = {"commands": commands, "heads": rows}
    for system in result["systems"].values():
        for head, row in system["heads"].items():
            theirs = result["systems"][yardstick]["heads"][head]
            row["ratio"] = row["rms"] / theirs["rms"]
            row["ratio_held_out"] = row["rms_held_out"] / theirs["rms_held_out"]
    return model, result


def main():
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    result = about(options)
    if options.shape:
        model = options.work / f"synth-{options.shape}"
        if not model.exists():
            run([options.binary, "synth", "--shape", options.shape, "--head", "two", "--out", model])
    else:
        model, result["drift"] = measure(options)
        print(tables(result["drift"]))
    if options.speed or options.shape:
        result["speed"] = speed.measure(options, model, export, run)
        print("\n" + speed.table(result["speed"], markdown))
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    print(f"\n{result['cpu']}, {options.threads} threads; {versions}; seed {options.seed}.")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
