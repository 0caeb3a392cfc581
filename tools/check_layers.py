#!/usr/bin/env python3
"""Holds the sources to the design: who may include whom, and what no room may contain.

In:  the repository (the folder above this one, or the one named).
Out: one line a finding on stdout; exit 1 if there is any.

Rules:
  1. A room of src/ includes its own headers and those of the rooms it stands on. cli/ may include all rooms,
     examples/ only carousel.h. (Tests and bench see what they measure.)
  2. No source file is longer than 1,000 lines.
  3. src/kernels, src/plan, src/emitted and src/network do not contain the words lstm or gru: cells are text, not code.
  4. src/ never exits, aborts or writes to stdout or stderr.
"""
import pathlib
import re
import sys

BASE = {"base"}
KERNELS = BASE | {"kernels"}
LANGUAGE = BASE | {"language"}
PLAN = KERNELS | LANGUAGE | {"plan"}
EMITTED = PLAN | {"emitted"}
NETWORK = EMITTED | {"network"}
TRAIN = NETWORK | {"train"}
DATA = BASE | {"data"}
REPORT = BASE | {"report"}
BENCH = TRAIN | {"bench"}
TASKS = TRAIN | DATA | {"tasks"}
INSPECT = TRAIN | REPORT | {"inspect"}
PROBE = TRAIN | DATA | {"probe"}
STORY = PROBE | INSPECT | {"story"}
SEARCH = PROBE | REPORT | {"search"}
MAY_SEE = {
    "base": BASE, "kernels": KERNELS, "language": LANGUAGE, "plan": PLAN, "emitted": EMITTED,
    "network": NETWORK,
    "train": TRAIN, "data": DATA, "report": REPORT, "tasks": TASKS, "bench": BENCH, "inspect": INSPECT,
    "search": SEARCH,
    "probe": PROBE, "story": STORY, "library": {"library"},
    "cli": TASKS | PROBE | BENCH | INSPECT | SEARCH | STORY | {"cli"}, "examples": {"examples"},
}
SOURCES = {".c", ".h", ".inc"}
LONGEST = 1000
NO_CELL_NAMES = {"kernels", "plan", "emitted", "network"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
FORBIDDEN = re.compile(
    r"\b(?:exit|_exit|_Exit|quick_exit|abort|assert|printf|vprintf|puts|putchar|perror)\s*\(|\bstd(?:out|err)\b")
CELL_NAME = re.compile(r"\b(?:lstm|gru)\b", re.IGNORECASE)


def room_of(path, root):
    parts = path.relative_to(root).parts
    return parts[1] if parts[0] == "src" and len(parts) > 2 else parts[0]


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def without_comments(text):
    """Comments and strings become blanks, so that lines and columns stay."""
    return COMMENT_OR_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def check_includes(path, text, room, owners):
    for match in INCLUDE.finditer(text):
        name = pathlib.PurePosixPath(match.group(1)).name
        owner = owners.get(name)
        if owner and owner not in MAY_SEE[room]:
            yield line_of(text, match.start()), f"{room} must not see {owner} ({name})"


def check_file(path, root, owners):
    text = path.read_text(encoding="utf-8")
    room = room_of(path, root)
    length = text.count("\n")
    if length > LONGEST:
        yield LONGEST + 1, f"{length} lines; split it (at most {LONGEST})"
    if room in MAY_SEE:
        yield from check_includes(path, text, room, owners)
    if room in NO_CELL_NAMES:
        for match in CELL_NAME.finditer(text):
            yield line_of(text, match.start()), f"names a cell ({match.group()}); cells are text, not code"
    if path.relative_to(root).parts[0] == "src":
        for match in FORBIDDEN.finditer(without_comments(text)):
            yield line_of(text, match.start()), f"the library never exits or prints ({match.group().strip()})"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    folders = ["src", "cli", "examples", "tests", "bench", "include"]
    files = sorted(path for folder in folders for path in (root / folder).rglob("*")
                   if path.suffix in SOURCES and path.is_file())
    owners, findings = {}, []
    for path in files:
        room = room_of(path, root)
        if path.suffix != ".c" and room != "include":
            other = owners.setdefault(path.name, room)
            if other != room:
                findings.append(f"{path.relative_to(root)}:1: {other} has a file of this name too")
    for path in files:
        for line, what in check_file(path, root, owners):
            findings.append(f"{path.relative_to(root)}:{line}: {what}")
    print("\n".join(findings + [f"{len(files)} files, {len(findings)} findings"]))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
