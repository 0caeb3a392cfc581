"""What the tests of the command line share: running the program, asserting, counting.

A test is a function named test_*; it fails by an exception. main() runs them all in order, each in an empty folder of its
own, and ends with the line "N passed, N failed[, N skipped]".
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CAROUSEL = os.environ.get("CAROUSEL", str(ROOT / "build" / "cli" / "carousel"))
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build"))


class Skip(Exception):
    """Raised by a test that cannot be run here; the text says why."""


class Result:
    """What a command did: code, out, err (text)."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


def run(*arguments, stdin="", timeout=120, env=None, **options):
    """Runs carousel; stdin is text or bytes."""
    environment = {**os.environ, **(env or {})}
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run([CAROUSEL, *map(str, arguments)], input=data, capture_output=True, timeout=timeout,
                          env=environment, check=False, **options)
    return Result(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def matches(pattern, text, what):
    expect(re.search(pattern, text, re.MULTILINE), f"{what} does not match {pattern!r}:\n{text[:3000]}")


def ok(*arguments, out=None, **options):
    """The command succeeds; its stdout matches."""
    result = run(*arguments, **options)
    expect(result.code == 0, f"{arguments}: exit {result.code}\n{result.err[-3000:]}")
    if out is not None:
        matches(out, result.out, f"stdout of {arguments}")
    return result


def refused(code, error, *arguments, **options):
    """The command ends with this exit code and says so in one line on stderr, the last one, and no data."""
    result = run(*arguments, **options)
    expect(result.code == code, f"{arguments}: exit {result.code}, not {code}\n{result.err[-3000:]}")
    lines = [line for line in result.err.splitlines() if line.startswith("carousel: ")]
    expect(len(lines) == 1, f"{arguments}: not one line of error:\n{result.err[-3000:]}")
    expect(result.err.splitlines()[-1] == lines[0], f"{arguments}: the error is not the last line:\n{result.err}")
    matches(error, lines[0], f"error of {arguments}")
    return result


def write(name, content):
    path = pathlib.Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def main(namespace):
    cache = tempfile.mkdtemp(prefix="carousel-cache-")
    os.environ["XDG_CACHE_HOME"] = cache  # what is compiled at run time stays out of the user's own folder
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    chosen = sys.argv[1:]
    for name, function in list(namespace.items()):
        if not name.startswith("test_") or (chosen and name not in chosen):
            continue
        folder, home, start = tempfile.mkdtemp(prefix="carousel-test-"), os.getcwd(), time.monotonic()
        os.chdir(folder)
        try:
            function()
            outcome, why = "passed", ""
        except Skip as skip:
            outcome, why = "skipped", f": {skip}"
        except Exception:  # every other exception is a failed test, whatever it is
            outcome, why = "failed", "\n" + traceback.format_exc(limit=-3)
        os.chdir(home)
        shutil.rmtree(folder, ignore_errors=True)
        counts[outcome] += 1
        print(f"{outcome:8}{name} ({time.monotonic() - start:.1f} s){why}", flush=True)
    shutil.rmtree(cache, ignore_errors=True)
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['passed']} passed, {counts['failed']} failed{skipped}")
    sys.exit(1 if counts["failed"] else 0)
