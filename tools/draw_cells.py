#!/usr/bin/env python3
"""Draws every cell of the zoo for the documents.

    tools/draw_cells.py build/cli/carousel

In:  the program. Out: docs/img/cells/NAME.svg, one a cell, and no other file there.
"""
import json
import pathlib
import subprocess
import sys


def main():
    program = sys.argv[1]
    folder = pathlib.Path(__file__).resolve().parent.parent / "docs" / "img" / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    cells = json.loads(subprocess.run([program, "cell", "list", "--json"], capture_output=True, check=True).stdout)
    for cell in cells:
        subprocess.run([program, "cell", "draw", cell["name"], "-o", folder / f"{cell['name']}.svg"], check=True)
    for path in set(folder.iterdir()) - {folder / f"{cell['name']}.svg" for cell in cells}:
        path.unlink()
    print(f"{len(cells)} pictures in {folder}")


if __name__ == "__main__":
    main()
