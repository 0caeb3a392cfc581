#!/usr/bin/env python3
"""Turns text files into one C string: embed_text.py OUTPUT.c HEADER VARIABLE FILE...

The files stand one after the other in `const char VARIABLE[]`, which HEADER declares.
"""
import sys
from pathlib import Path


def c_lines(text):
    for line in text.splitlines():
        escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
        yield f'    "{escaped}\\n"'


def main():
    output, header, variable, *files = sys.argv[1:]
    lines = [line for name in files for line in c_lines(Path(name).read_text(encoding="utf-8"))]
    Path(output).write_text(
        f"/* Made by tools/embed_text.py from {', '.join(Path(name).name for name in files)}. */\n"
        f'#include "{header}"\n\nconst char {variable}[] =\n' + "\n".join(lines) + ";\n", encoding="utf-8")


main()
