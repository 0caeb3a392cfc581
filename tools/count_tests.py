#!/usr/bin/env python3
"""Counts the tests that a `meson test` run has made, cmocka's one by one.

In:  TITLE, the build folder, meson's exit code, the file of results.
Out: a line "passed failed skipped TITLE" added to the file; on stderr the output of what failed.

A program that prints cmocka's summary, or a last line "N passed, N failed[, N skipped]", counts as that many tests; any
other counts as one. A program that failed without a failed test in its summary (a crash, a leak, a time-out) counts as
one failure more.
"""
import json
import pathlib
import re
import sys

RUN = re.compile(r"^\[==========\] (?:[\w.]+: )?(\d+) test\(s\) run\.", re.MULTILINE)
FAILED = re.compile(r"^\[  FAILED  \] (?:[\w.]+: )?(\d+) test\(s\), listed below", re.MULTILINE)
SKIPPED = re.compile(r"^\[  SKIPPED \] (?:[\w.]+: )?(\d+) test\(s\), listed below", re.MULTILINE)
LAST_LINE = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.MULTILINE)


def total(pattern, text):
    return sum(int(number) for number in pattern.findall(text))


def count(entry):
    """(passed, failed, skipped) of one program."""
    output = entry.get("stdout", "") + "\n" + entry.get("stderr", "")
    result = entry["result"]
    lines = LAST_LINE.findall(output)
    if lines:
        passed, failed, skipped = (int(number or 0) for number in lines[-1])
    elif RUN.search(output):
        failed, skipped = total(FAILED, output), total(SKIPPED, output)
        passed = total(RUN, output) - failed - skipped
    elif result == "SKIP":
        return 0, 0, 1
    else:
        return (1, 0, 0) if result == "OK" else (0, 1, 0)
    if result not in ("OK", "SKIP") and not failed:
        failed = 1
    return passed, failed, skipped


def main():
    title, folder, code, results = sys.argv[1:]
    log = pathlib.Path(folder) / "meson-logs" / "testlog.json"
    sums, failures = [0, 0, 0], []
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    for entry in entries:
        counted = count(entry)
        sums = [a + b for a, b in zip(sums, counted)]
        mark = "FAILED" if counted[1] else "ok"
        name = entry["name"].split(" / ")[-1]
        print(f"  {name:<24} {counted[0]:>4} passed {counted[1]:>3} failed {counted[2]:>3} skipped"
              f"  {entry.get('duration', 0):7.1f} s  {mark}", file=sys.stderr)
        if counted[1]:
            failures.append(entry)
    for entry in failures:
        output = entry.get("stdout", "") + entry.get("stderr", "")
        print(f"---- {entry['name']} ({entry['result']})\n{output[-6000:]}", file=sys.stderr)
    if int(code) and not sums[1]:
        print(f"meson test failed (exit {code}) without a failed test; see {folder}/start-test.log", file=sys.stderr)
        sums[1] = 1
    with open(results, "a", encoding="utf-8") as file:
        file.write(f"{sums[0]} {sums[1]} {sums[2]} {title}\n")


if __name__ == "__main__":
    main()
