"""`meson install` gives what an outside program needs: header, both libraries, pkg-config file, program."""
import os
import pathlib
import re
import shlex
import subprocess

from harness import BUILD, ROOT, Skip, expect, main, write

PROGRAM = r"""
#include <carousel.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    car_error error;
    car_cell *cell;
    const char *text = "cell mine(x) -> h\nstate h\nh' = tanh(W@x + U@h + b)\n";
    if (car_cell_compile(text, strlen(text), "mine", NULL, &cell, &error) != CAR_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    printf("%s %s\n", car_version(), car_cell_fingerprint(cell));
    car_cell_free(cell);
    return 0;
}
"""
PREFIX = "/usr/local"


def command(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)
    expect(done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def install():
    stage = pathlib.Path("stage").resolve()
    if not stage.exists():
        command("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", stage)
    return stage


def find(stage, name):
    found = sorted(stage.rglob(name))
    expect(found, f"{name} is not installed: {sorted(str(path) for path in stage.rglob('*'))}")
    return found[0]


def test_everything_is_there():
    stage = install()
    for name in ("carousel.h", "libcarousel.so", "libcarousel.so.0", "libcarousel.a", "carousel.pc", "carousel"):
        find(stage, name)


def header_program():
    """The complete program in the opening comment of carousel.h: from its first #include to its last brace."""
    text = (ROOT / "include" / "carousel.h").read_text(encoding="utf-8")
    lines = [re.sub(r"^ \* ?", "", line) for line in text[:text.index("#ifndef")].splitlines()]
    first = next(number for number, line in enumerate(lines) if "#include" in line)
    last = max(number for number, line in enumerate(lines) if line.strip() == "}")
    return "\n".join(lines[first:last + 1]) + "\n"


def test_outside_program():
    build_and_run(PROGRAM, r"\d+\.\d+\.\d+ [0-9a-f]{32}\n")


def test_program_of_the_header():
    build_and_run(header_program(), r"-?[\d.e-]+ -?[\d.e-]+\n")


def build_and_run(program, expected):
    """Compiles an outside program with pkg-config's flags, against the shared and the static library."""
    stage = install()
    write("program.c", program)
    compiler = shlex.split(os.environ.get("CAR_CC", "cc"))
    environment = {**os.environ, "PKG_CONFIG_PATH": str(find(stage, "carousel.pc").parent),
                   "PKG_CONFIG_SYSROOT_DIR": str(stage)}
    for kind in ("shared", "static"):
        words = ["pkg-config", "--cflags", "--libs", "carousel", *(["--static"] if kind == "static" else [])]
        flags = shlex.split(command(*words, env=environment))
        if kind == "static":
            flags = [str(find(stage, "libcarousel.a")) if flag == "-lcarousel" else flag for flag in flags]
            if not any("openmp" in flag for flag in flags):
                flags.append("-fopenmp")
        command(*compiler, "-std=c11", "program.c", "-o", f"program-{kind}", *flags, env=environment)
        library = str(find(stage, "libcarousel.so.0").parent)
        out = command(f"./program-{kind}", env={**os.environ, "LD_LIBRARY_PATH": library if kind == "shared" else ""})
        expect(re.fullmatch(expected, out), f"{kind}: {out}")


def test_exported_names_and_globals():
    library = find(install(), "libcarousel.so")
    names = [line.split()[-1] for line in command("nm", "-D", "--defined-only", library).splitlines()]
    strangers = [name for name in names if not name.startswith("car_")]
    expect(names and not strangers, f"exported without the prefix: {strangers}")
    table = command("readelf", "-SW", library)
    sections = {int(number): name for number, name in re.findall(r"\[ *(\d+)\] (\S+)", table)}
    writable = []
    for line in command("readelf", "-sW", library).splitlines():
        fields = line.split()
        if len(fields) == 8 and fields[3] == "OBJECT" and fields[6].isdigit():
            of_the_linker = fields[7].startswith(("__TMC_END__", "__dso_handle", "completed."))
            if sections.get(int(fields[6])) in (".data", ".bss") and not of_the_linker:
                writable.append(fields[7])
    expect(not writable, f"writable globals in the library: {writable}")


def test_installed_command_runs():
    program = find(install() / PREFIX.lstrip("/"), "carousel") if (install() / PREFIX.lstrip("/")).exists() else None
    if program is None or program.is_dir():
        raise Skip("installed to another prefix")
    expect("carousel" in command(program, "--version"), "--version")


if __name__ == "__main__":
    main(globals())
