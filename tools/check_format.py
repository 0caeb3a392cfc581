#!/usr/bin/env python3
"""Is every .c file as clang-format writes it? Exit 1 if not, 77 (skipped) where there is no clang-format.

Headers are laid out by hand: their tables and comments are there to be read."""
import pathlib
import shutil
import subprocess
import sys

FOLDERS = ["include", "src", "cli", "examples", "tests", "bench"]


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    if not shutil.which("clang-format"):
        print("skipped: no clang-format here")
        return 77
    files = sorted(str(path) for folder in FOLDERS for path in (root / folder).rglob("*")
                   if path.suffix == ".c")
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], cwd=root, capture_output=True, text=True,
                         check=False)
    wrong = sorted({line.split(":")[0] for line in run.stderr.splitlines() if "error:" in line})
    for name in wrong:
        print(f"{name}: not as clang-format writes it; run clang-format -i on it")
    print(f"{len(files)} files, {len(wrong)} with findings")
    return 1 if run.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
