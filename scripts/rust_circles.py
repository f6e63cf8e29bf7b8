"""Which file of a crate uses which, and the circles among them.

A name counts for the file that defines it: what a `mod.rs` re-exports is followed to where it comes from. Tests are
left out: they may use what is tested and all that it needs.
"""

import re

# A string, a raw string, a character, or a comment: nothing in them is a path.
NO_CODE = re.compile(
    r'r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.|[^\'\\\n])[^\'\n]{0,8}?\'|//[^\n]*|/\*.*?\*/', re.DOTALL
)
TEST_ATTRIBUTE = re.compile(r"#\[cfg\((?:all\()?test\b[^\n]*\]\s*(?:#\[[^\n]*\]\s*)*")
USE = re.compile(r"(?:^|(?<=[\s;{}]))(?P<public>pub(?:\([^)]*\))?\s+)?use\s+(?P<tree>[^;]+);")
MODULE = re.compile(r"(?:^|(?<=[\s;{}]))(?:pub(?:\([^)]*\))?\s+)?mod\s+(?P<name>\w+)\s*;")
PATH = re.compile(r"(?<![\w:$])(\w+(?:::\w+)+)")
ITEM = re.compile(r"\b(?:struct|enum|union|trait|type|fn|const|static|mod|macro_rules!)\s+(\w+)")


def without_tests(code):
    """`code` without each item under `#[cfg(test)]`."""
    while found := TEST_ATTRIBUTE.search(code):
        end, depth = found.end(), 0
        while end < len(code):
            character = code[end]
            depth += (character in "{([") - (character in "})]")
            end += 1
            if depth == 0 and character in ";}":
                break
        code = code[: found.start()] + code[end:]
    return code


def leaves(tree):
    """(path, alias) of each name of the use tree, `a::{b, c as d, e::*}`."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        path, _, alias = (part.strip() for part in tree.partition(" as "))
        yield path.split("::"), alias
        return
    start, depth, inner = 0, 0, rest[: rest.rindex("}")]
    for at, character in enumerate(inner + ","):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            if part := inner[start:at].strip():
                for path, alias in leaves(part):
                    yield head.strip().removesuffix("::").split("::") + path if head.strip() else path, alias
            start = at + 1


class Module:
    def __init__(self, file, path):
        self.file, self.path = file, path
        code = without_tests(NO_CODE.sub(lambda text: " " * (text[0][0] == "/") or '""', file.read_text()))
        self.children = {found["name"] for found in MODULE.finditer(code)}
        self.imports, self.globs, paths = {}, [], []
        for found in USE.finditer(code):
            for path, alias in leaves(found["tree"]):
                if path[-1] == "self" and len(path) > 1:
                    path = path[:-1]
                paths.append(path)
                if path[-1] == "*":
                    self.globs.append(path[:-1])
                else:
                    self.imports[alias or path[-1]] = path
        code = USE.sub(" ", code)
        self.items = set(ITEM.findall(code))
        self.paths = paths + [found.split("::") for found in PATH.findall(code)]


class Crate:
    """The modules of the crate whose root is `src`/lib.rs, or main.rs if it has no library."""

    def __init__(self, src):
        self.modules = {}
        self.src = src
        self._read(src / "lib.rs", ())

    def _read(self, file, path):
        module = self.modules[path] = Module(file, path)
        folder = file.parent if file.name in ("lib.rs", "mod.rs") else file.with_suffix("")
        for name in module.children:
            for child in (folder / f"{name}.rs", folder / name / "mod.rs"):
                if child.exists():
                    self._read(child, (*path, name))

    def _resolve(self, module, path, seen=frozenset()):
        """The module that defines what `path`, written in `module`, leads to; None if it is of another crate."""
        if (module.path, tuple(path)) in seen:
            return None
        seen |= {(module.path, tuple(path))}
        at, first = module, True
        for index, segment in enumerate(path):
            if segment == "crate" and first:
                at = self.modules[()]
            elif segment == "self" and first:
                pass
            elif segment == "super":
                at = self.modules[at.path[:-1]]
            elif (*at.path, segment) in self.modules:
                at, first = self.modules[(*at.path, segment)], False
            elif segment in at.items:
                return None if first and at is module and index == 0 else at
            elif segment in at.imports:
                found = at.imports[segment]
                # `use ort::{self}`: a crate, under its own name.
                return None if found[0] == segment else self._resolve(at, found + path[index + 1 :], seen)
            else:
                for glob in at.globs:
                    if found := self._resolve(at, glob + path[index:], seen):
                        return found
                return None if index == 0 else at
        return at

    def uses(self):
        """file: the files of the crate that it names something of."""
        graph = {}
        for module in self.modules.values():
            uses = graph.setdefault(module.file, set())
            for path in module.paths:
                path = path[:-1] if path[-1] == "*" else path
                found = self._resolve(module, path)
                if found is not None and found is not module:
                    uses.add(found.file)
        return graph


def circles(graph):
    """The strongly connected parts of `graph` with more than one member, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def shortest_circle(graph, part):
    """The shortest way from a member of `part` back to it."""
    best = None
    for start in part:
        ways, seen = [[start]], {start}
        while ways and (best is None or len(ways[0]) < len(best)):
            way = ways.pop(0)
            if start in graph[way[-1]]:
                best = way
                break
            for other in sorted(graph[way[-1]]):
                if other in part and other not in seen:
                    seen.add(other)
                    ways.append([*way, other])
    return [*best, best[0]]
