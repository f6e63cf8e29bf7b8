#!/usr/bin/env python3
"""Checks that every dependency is used, and the dependencies against deny.toml: licences, versions, sources.

A light stand-in for `cargo deny check licenses bans sources`, which takes longer to build than this project does. It
knows the keys that our deny.toml uses and stops at any other. It cannot see published vulnerabilities: for that,
`cargo deny check advisories` runs after it where cargo-deny is installed.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("check-deps: error: needs Python 3.11 or newer: make check PYTHON=/path/to/python3")
import tomllib

ROOT = Path(__file__).resolve().parent.parent
KNOWN_KEYS = {
    "graph": {"targets", "all-features"},
    "licenses": {"allow"},
    "bans": {"multiple-versions", "wildcards", "allow-wildcard-paths", "skip"},
    "sources": {"unknown-registry", "unknown-git"},
}


def licence_allowed(expression, allow):
    """Evaluates an SPDX expression: OR needs one allowed side, AND needs both."""
    # "MIT/Apache-2.0" is the registry's old spelling of OR.
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def take():
        nonlocal position
        position += 1
        return tokens[position - 1] if position <= len(tokens) else None

    def peek():
        return tokens[position] if position < len(tokens) else None

    def term():
        token = take()
        if token == "(":
            value = any_of()
            take()
            return value
        if peek() == "WITH":
            take()
            token = f"{token} WITH {take()}"
        return token in allow

    def all_of():
        value = term()
        while peek() == "AND":
            take()
            value = term() and value
        return value

    def any_of():
        value = all_of()
        while peek() == "OR":
            take()
            value = all_of() or value
        return value

    return any_of() and position == len(tokens)


def dependencies(target):
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--all-features", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    used = {node["id"] for node in metadata["resolve"]["nodes"]}
    return [package for package in metadata["packages"] if package["id"] in used]


def skipped(package, skips):
    """Whether a `name@version` of the skip list names this package; version may be a prefix (0.9)."""
    for skip in skips:
        name, version = skip["crate"].split("@")
        if package["name"] == name and (package["version"] + ".").startswith(version + "."):
            skip["used"] = True
            return True
    return False


def sources(package, folders):
    """The code of a package in these folders, without comments: one that names a dependency does not use it."""
    root = Path(package["manifest_path"]).parent
    files = [root / "build.rs", *(file for folder in folders for file in sorted((root / folder).rglob("*.rs")))]
    lines = (line for file in files if file.is_file() for line in file.read_text().splitlines())
    return "\n".join(line for line in lines if not line.lstrip().startswith("//"))


def unused(package):
    """The dependencies of a package of ours that its code does not name."""
    shipped = sources(package, ["src"])
    tested = sources(package, ["src", "tests", "benches", "examples"])
    for dependency in package["dependencies"]:
        name = (dependency["rename"] or dependency["name"]).replace("-", "_")
        named = rf"(?<![\w:.])(?:::)?{name}\s*::|\b(?:use|extern crate)\s+(?:::)?{name}\b"
        if not re.search(named, tested if dependency["kind"] == "dev" else shipped):
            section = "dev-dependencies" if dependency["kind"] == "dev" else "dependencies"
            where = Path(package["manifest_path"]).relative_to(ROOT)
            yield f"{where}: [{section}] {dependency['name']}: the code does not use it; remove it"


def check(policy):
    problems = set()
    packages = {p["id"]: p for target in policy["graph"]["targets"] for p in dependencies(target)}
    once = {}
    for package in sorted(packages.values(), key=lambda p: (p["name"], p["version"])):
        label = f"{package['name']} {package['version']}"
        if not licence_allowed(package["license"] or "", policy["licenses"]["allow"]):
            problems.add(f"{label}: licence {package['license']!r} is not in the allow list")
        if package["source"] is None:
            problems.update(unused(package))
            for dependency in package["dependencies"]:
                if dependency["req"] == "*" and "path" not in dependency:
                    problems.add(f"{label}: dependency {dependency['name']} has the version '*'")
            continue
        if not package["source"].startswith("registry+"):
            problems.add(f"{label}: comes from {package['source']}, not from the registry")
        if not skipped(package, policy["bans"]["skip"]):
            first = once.setdefault(package["name"], package["version"])
            if first != package["version"]:
                problems.add(f"{package['name']}: versions {first} and {package['version']} are both built")
    registries = {p["source"] for p in packages.values() if (p["source"] or "").startswith("registry+")}
    if len(registries) > 1:
        problems.add(f"more than one registry: {', '.join(sorted(registries))}")
    problems |= {f"skip {s['crate']}: nothing uses it any more" for s in policy["bans"]["skip"] if "used" not in s}
    return len(packages), sorted(problems)


def main():
    policy = tomllib.loads((ROOT / "deny.toml").read_text())
    for section, values in policy.items():
        unknown = set(values) - KNOWN_KEYS.get(section, set())
        if unknown:
            sys.exit(f"check-deps: error: deny.toml: [{section}] {', '.join(unknown)}: this script does not know it")
    count, problems = check(policy)
    for problem in problems:
        print(f"check-deps: error: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"check-deps: {count} packages: ours are used; licences, versions and sources are as deny.toml asks")
    if subprocess.run(["cargo", "deny", "--version"], cwd=ROOT, capture_output=True).returncode == 0:
        sys.exit(subprocess.run(["cargo", "deny", "check"], cwd=ROOT).returncode)
    print("check-deps: published vulnerabilities not looked for: cargo-deny is not installed")


if __name__ == "__main__":
    main()
