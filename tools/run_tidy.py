#!/usr/bin/env python3
"""Runs clang-tidy over the sources of a build: `run_tidy.py BUILD JOBS [PART OF A NAME]`. Exit 1 if it finds anything.

Files that compile the same text for another CPU level (*_avx2.c, *_avx512.c, *_avx512_bf16.c) are left to their *_baseline.c.
The flags come from compile_commands.json, less those that only gcc knows; tools/analyzer.h stands before every file. The
omp.h is gcc's, so that clang's OpenMP packages are not needed.
"""
import concurrent.futures
import json
import pathlib
import re
import shlex
import subprocess
import sys

ANALYZER = pathlib.Path(__file__).resolve().parent / "analyzer.h"
BASE = ANALYZER.parent.parent / "src" / "base"


def arguments(entry):
    words = shlex.split(entry["command"])[1:]
    keep = [word for word in words if word.startswith(("-I", "-D", "-std", "-m"))]
    if not entry["file"].endswith("base/error.c"):
        keep += ["-include", str(ANALYZER), "-I", str(BASE)]
    return keep + ["-I.tidy", "-fopenmp", "-Wno-unknown-warning-option"]


def copy_openmp_header(build):
    command = ["cc", "-print-file-name=include/omp.h"]
    path = pathlib.Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    (build / ".tidy").mkdir(exist_ok=True)
    if path.is_file():
        text = re.sub(r"__malloc__ \([^()]*\)", "__malloc__", path.read_text(encoding="utf-8"))
        (build / ".tidy" / "omp.h").write_text(text, encoding="utf-8")


def tidy(entry):
    command = ["clang-tidy", "--quiet", entry["file"], "--", *arguments(entry)]
    run = subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True, check=False)
    return run.returncode, run.stdout, run.stderr


def main():
    build, jobs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    copy_openmp_header(build)
    part = sys.argv[3] if len(sys.argv) > 3 else ""
    files = {}
    for entry in entries:
        name = entry["file"]
        again = name.endswith(("_avx2.c", "_avx512.c", "_avx512_bf16.c", "_avx512_vnni.c", "_zen5.c", "_amx.c"))
        if ("../src/" in name or "../cli/" in name) and part in name and not again:
            files.setdefault(name, entry)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for code, output, errors in pool.map(tidy, files.values()):
            if code:
                failed += 1
                print(output or errors)
    print(f"{len(files)} files, {failed} with findings")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
