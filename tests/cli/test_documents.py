"""What README.md, README.zh-CN.md and docs/ tell people to type or compile is typed and compiled.

```sh blocks run one after the other in a folder that holds a text, book.txt, with `carousel` on the PATH; ```c blocks are compiled against include/carousel.h. A block that cannot be run in a test stands after a
comment `<!-- not run: why -->`. Every `carousel VERB --flag` anywhere in a document must exist.
"""
import fnmatch
import os
import pathlib
import re
import shlex
import subprocess

from harness import CAROUSEL, ROOT, Skip, expect, main, ok, write

BLOCK = re.compile(r"^(<!-- not run: [^\n]+ -->\n+)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[`$ ])carousel ((?:[a-z]+ ?){1,2})((?:[^`\n|#]*))", re.MULTILINE)


def documents():
    found = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [path for path in found if path.exists()]


def blocks(path, language):
    for mark, kind, text in BLOCK.findall(path.read_text(encoding="utf-8")):
        if kind == language and not mark:
            yield text


def test_shell_examples():
    os.mkdir("bin")
    os.symlink(CAROUSEL, "bin/carousel")
    environment = {**os.environ, "PATH": f"{os.getcwd()}/bin:{os.environ['PATH']}"}
    ran = 0
    for path in documents():
        script = "\n".join(blocks(path, "sh"))
        if not script:
            continue
        folder = pathlib.Path(path.name + ".run")
        folder.mkdir()
        (folder / "book.txt").write_bytes(b"The cat sat on the mat. The dog saw the cat and ran.\n" * 400)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment,
                              capture_output=True, text=True, timeout=400, check=False)
        expect(done.returncode == 0, f"{path.name}: exit {done.returncode}\n{script}\n{done.stderr[-3000:]}")
        ran += 1
    if not ran:
        raise Skip("no document has an example to run")


def compile_c(source, *flags):
    compiler = shlex.split(os.environ.get("CAR_CC", "cc"))
    command = [*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT / 'include'}", *flags, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"{' '.join(command)}\n{done.stderr}")


def test_c_examples_compile():
    for path in documents():
        for number, text in enumerate(blocks(path, "c")):
            compile_c(write(f"{path.stem}{number}.c", text), "-std=gnu11")


def test_header_compiles_alone():
    write("c.c", '#include "carousel.h"\nint main(void) { return car_version()[0] == 0; }\n')
    for standard in ("-std=c99", "-std=c11", "-std=c17"):
        compile_c("c.c", standard, "-pedantic-errors")


def test_commands_that_documents_name_exist():
    for path in documents():
        for words, rest in COMMAND.findall(path.read_text(encoding="utf-8")):
            verb = words.split()
            if verb[0] not in ("lm", "cell", "forecast", "search", "classify", "tag"):
                verb = verb[:1]
            if verb[0] in ("help", "reads", "runs") or (verb[0] in ("lm", "cell", "forecast", "search", "classify", "tag") and len(verb) < 2):
                continue
            help_text = ok(*verb, "--help").out
            for flag in re.findall(r"--[a-z][\w-]+", rest):
                expect(flag in help_text + " --help --version --json", f"{path.name}: carousel {words}: no {flag}")


def test_both_readmes_have_the_same_sections():
    if not (ROOT / "README.zh-CN.md").exists():
        raise Skip("no README.zh-CN.md yet")
    shapes = []
    for name in ("README.md", "README.zh-CN.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        shapes.append(([line.split()[0] for line in text.splitlines() if line.startswith("#")],
                       re.findall(r"^```\w+$", text, re.MULTILINE), len(re.findall(r"^\|", text, re.MULTILINE))))
    expect(shapes[0] == shapes[1], f"the two READMEs differ: {shapes}")


def test_links_lead_somewhere():
    for path in documents():
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                expect((path.parent / target).exists(), f"{path.name}: {target} does not exist")


def test_design_names_every_file():
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w*.-]+)`", text)
    missing = [str(path.relative_to(ROOT)) for folder in ("src", "cli") for path in (ROOT / folder).rglob("*")
               if path.suffix in (".c", ".h", ".inc", ".map")
               and not any(fnmatch.fnmatch(path.name, pattern) for pattern in named)]
    expect(not missing, f"docs/design.md does not say what these do: {missing}")


if __name__ == "__main__":
    main(globals())
