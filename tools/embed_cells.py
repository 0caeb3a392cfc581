#!/usr/bin/env python3
"""Turns cells/*.cell into a C table of texts: embed_cells.py OUTPUT.c FILE.cell...

The first comment line of a file is its summary; the name is the file's and must be the header's too.
"""
import re
import sys
from pathlib import Path


def c_string(text):
    lines = text.split("\n")
    out = []
    for number, line in enumerate(lines):
        end = "\\n" if number + 1 < len(lines) else ""
        if line or end:
            escaped = line.replace("\\", "\\\\").replace('"', '\\"')
            out.append('     "' + escaped + end + '"')
    return "\n".join(out)


def main():
    output, files = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    folder = files[0].parent
    missing = {path.name for path in folder.glob("*.cell")} ^ {path.name for path in files}
    if missing:
        sys.exit(f"cells/ and its list in src/language/meson.build differ in: {', '.join(sorted(missing))}")
    entries = []
    for path in sorted(files, key=lambda file: file.stem):
        text = path.read_text(encoding="utf-8")
        header = re.search(r"^cell ([\w-]+)\(", text, re.MULTILINE)
        if not text.startswith("# ") or not header or header.group(1) != path.stem:
            sys.exit(f"{path}: begin with `# summary` and name the cell {path.stem}")
        summary = text.split("\n", 1)[0][2:].replace("\\", "\\\\").replace('"', '\\"')
        entries.append(f'    {{"{path.stem}",\n{c_string(text)},\n     "{summary}"}},')
    output.write_text(
        "/* Made from cells/ by tools/embed_cells.py. */\n"
        '#include "language.h"\n#include "zoo_table.h"\n\n'
        "const car_zoo_entry car_zoo_table[] = {\n" + "\n".join(entries) + "\n};\n"
        f"const int car_zoo_table_count = {len(entries)};\n", encoding="utf-8")


main()
