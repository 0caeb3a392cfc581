"""The program as a user runs it: help, cells, info, streams, exit codes. The language-model verbs: test_lm.py."""
import json
import os
import pathlib
import re
import shutil
import subprocess

from harness import CAROUSEL, Skip, expect, main, matches, ok, refused, run, write

VERBS = ["cell list", "cell show", "cell check", "cell explain", "cell emit", "cell draw", "cell mutate", "info", "lm train", "lm eval",
         "lm sample", "demo", "bench", "inspect", "search start", "search work", "search status",
         "search top", "search show", "search export", "search report", "search ask",
         "search tell", "search compare"]
MY_CELL = """# a cell of one's own
cell mine(x) -> h
state h
z = sigmoid(Wz@x + Uz@h + bz)
h' = z*h + (1 - z)*tanh(Wh@x + bh)
"""


def test_cell_mutate():
    text = ok("cell", "mutate", "gru-v1", "--count", "3", "--seed", "5").out
    expect(text == ok("cell", "mutate", "gru-v1", "--count", "3", "--seed", "5").out, "the same seed, other cells")
    expect(text != ok("cell", "mutate", "gru-v1", "--count", "3", "--seed", "6").out, "another seed, the same cells")
    os.mkdir("mutants")
    ok("cell", "mutate", "gru-v1", "--count", "3", "--seed", "5", "--folder", "mutants")
    files = sorted(pathlib.Path("mutants").iterdir())
    expect(len(files) == 3, f"{files}")
    for path in files:
        content = path.read_text()
        expect(content in text and f"cell {path.stem}(x)" in content and "from gru-v1:" in content, content)
        ok("cell", "check", path)
    refused(5, "none/", "cell", "mutate", "lstm", "--folder", "none")
    refused(2, "--count", "cell", "mutate", "lstm", "--count", "0")
    refused(2, "lstn", "cell", "mutate", "lstn")


def test_version():
    ok("--version", out=r"^carousel \d+\.\d+\.\d+ \(cpu level (baseline|avx2|avx512|amx)\)$")


def test_overview():
    result = ok("help", out=r"^Examples$")
    expect(result.out == ok("--help").out, "help and --help differ")
    for verb in ("demo", "lm", "cell", "info", "bench", "help"):
        matches(rf"^  {verb} ", result.out, "overview")
    result = run()
    expect(result.code == 2, "no verb is a usage error")


def test_help_of_every_verb():
    for verb in VERBS:
        result = ok(*verb.split(), "--help", out=r"\A" + f"carousel {verb}: ")
        expect(result.out == ok("help", *verb.split()).out, f"help {verb} differs from {verb} --help")
        expect(result.out.index("Examples") < result.out.index("Usage"), f"{verb}: examples come first")
        wide = [line for line in result.out.splitlines() if len(line) > 80]
        expect(not wide, f"{verb}: wider than 80 columns: {wide}")
        for option in re.findall(r"^  (?:-\w, |    )--[\w-]+ \S+.*(?:\n {26}.*)*", result.out, re.MULTILINE):
            expect("default: " in " ".join(option.split()) + " ", f"{verb}: no default: {option}")


def test_help_lists_subverbs():
    for verb in ("cell", "lm"):
        ok(verb, "--help", out=rf"^  carousel {verb} \w+")
        ok("help", verb, out=rf"^  carousel {verb} \w+")
        expect(run(verb).code == 2, f"{verb} alone is a usage error")


def test_usage_errors():
    refused(2, "unknown verb cel; did you mean carousel cell?", "cel", "list")
    refused(2, "unknown verb xyzzy; see carousel help", "xyzzy")
    refused(2, "did you mean carousel cell check", "cell", "chek", "lstm")
    refused(2, "unknown option --hiden; did you mean --hidden", "cell", "check", "lstm", "--hiden", "3")
    refused(2, "whole number from 1 to", "cell", "check", "lstm", "--hidden", "0")
    refused(2, "whole number from 1 to", "cell", "check", "lstm", "--hidden", "3.5")
    refused(2, "needs a value", "cell", "check", "lstm", "--hidden")
    refused(2, "too few arguments", "cell", "show")
    refused(2, "what is gru for", "cell", "show", "lstm", "gru")
    refused(2, "the verb comes first", "--json", "info")


def test_cell_list():
    result = ok("cell", "list", out=r"^lstm +\S")
    names = [line.split()[0] for line in result.out.splitlines()]
    entries = json.loads(ok("cell", "list", "--json").out)
    expect([entry["name"] for entry in entries] == names, "list and list --json differ")
    required = """dense rnn lstm-1997 lstm lstm-peephole cifg lstm-noi lstm-nof lstm-noo lstm-nobias gru gru-v1
        mut1 mut2 mut3 ugrnn janet mgu indrnn slstm mingru layernorm-lstm""".split()
    expect(not set(required) - set(names), f"missing in the zoo: {set(required) - set(names)}")
    expect(all(entry["summary"].strip() for entry in entries), "a cell has no summary")


def test_cell_check_of_the_zoo():
    for entry in json.loads(ok("cell", "list", "--json").out):
        result = json.loads(ok("cell", "check", entry["name"], "--json").out)
        expect(re.fullmatch("[0-9a-f]{32}", result["fingerprint"]), "fingerprint")
        expect(result["derivatives"]["points"] > 20, f"{entry['name']}: too few derivatives compared")
        expect(result["derivatives"]["worst_error"] < 1e-5, f"{entry['name']}: {result['derivatives']}")


def test_cell_check_prints_every_parameter():
    result = ok("cell", "check", "lstm", "--hidden", "7", "--input", "2")
    for gate in "ifgo":
        matches(rf"^W{gate} +matrix +\[n\]\[input\] +default", result.out, "check")
        matches(rf"^U{gate} +matrix +\[n\]\[n\] +default", result.out, "check")
    matches(r"^bf +bias +\[n\] +1$", result.out, "check")
    matches(r"^bi +bias +\[n\] +0$", result.out, "check")
    matches(r"^[1-9]\d+ derivatives compared .* [\d.]+e-\d+, set aside \d+", result.out, "check")


def test_cell_show_gives_a_usable_file():
    for name in ("lstm", "gru", "layernorm-lstm"):
        text = ok("cell", "show", name).out
        write("copy.cell", text)
        expect(ok("cell", "show", "copy.cell").out == text, "a shown cell is shown differently from its file")
        ours = json.loads(ok("cell", "check", "copy.cell", "--json").out)
        theirs = json.loads(ok("cell", "check", name, "--json").out)
        expect(ours == theirs, f"{name} and its copy differ")


def test_cell_from_file_and_pipe():
    write("mine.cell", MY_CELL)
    os.mkdir("folder")
    write("folder/plain", MY_CELL)
    for name in ("mine.cell", "./mine.cell", "folder/plain"):
        ok("cell", "check", name, out=r"^Wz +matrix")
    ok("cell", "check", "-", stdin=MY_CELL, out=r"^Wz +matrix")
    ok("cell", "show", "--", "mine.cell", out="cell mine")


def test_cell_explain():
    for name in ("lstm", "gru", "dense", "layernorm-lstm"):
        result = ok("cell", "explain", name, "--hidden", "64")
        for section in ("equations of", "graph of", "gradient graph", "plan of"):
            matches(f"^{section}", result.out, "explain")
        matches("(?i)flop", result.out, "explain")
        matches("(?i)bytes", result.out, "explain")
    refused(2, r"\d+", "cell", "explain", "indrnn", "--hidden", "0")


SLOW_CELL = """cell own(x) -> h
state h, slow
k = sigmoid(Wk@x + Uk@h + bk)
slow' = k*slow + (1 - k)*tanh(W@x + U@h + b)
h' = 0.75*slow' + 0.125*h
"""


def runs_as(expected, **environment):
    """The last line of `cell explain` on a cell that is not built in; the interpreter's reason or the entry's path."""
    write("own.cell", SLOW_CELL)
    last = ok("cell", "explain", "own.cell", "--hidden", "16", env=environment).out.splitlines()[-1]
    matches(expected, last, f"last line with {environment}")
    return last


def test_programs_begin_with_what_is_waited_for():
    """lstm's output gate, needed last, is made last; c' and its tanh, the longest way, come before it."""
    loop = ok("cell", "explain", "lstm").out.split("loop (step by step)")[1].split("backward loop")[0]
    steps = [line.strip() for line in loop.splitlines()]
    made = [line for line in steps if " = sigmoid " in line or " = tanh " in line]
    expect([line.split()[2] for line in made] == ["sigmoid", "sigmoid", "tanh", "tanh", "sigmoid"], f"order: {made}")
    matches("19 instructions, 3 registers", loop, "explain lstm")


def test_cell_explain_says_what_runs():
    matches(r"^emitted: built in$", ok("cell", "explain", "lstm").out, "explain lstm")
    empty, cache = os.path.abspath("empty"), os.path.abspath("cache")
    os.mkdir(empty)
    runs_as("^interpreted: no C compiler$", PATH=empty, CC="", XDG_CACHE_HOME=cache)
    runs_as("^interpreted: CAROUSEL_NATIVE=0$", CAROUSEL_NATIVE="0", XDG_CACHE_HOME=cache)
    expect(not os.path.exists(cache), "a cache folder without need")
    runs_as("^interpreted: the C compiler failed", CC="/bin/false", XDG_CACHE_HOME=cache)
    runs_as("^interpreted: no cache folder", XDG_CACHE_HOME="/proc/self")


def test_own_cells_are_compiled_once():
    if not shutil.which(os.environ.get("CC", "cc").split()[0]):
        raise Skip("no C compiler")
    cache = os.path.abspath("cache")
    write("own.cell", SLOW_CELL)
    command = [CAROUSEL, "cell", "explain", "own.cell"]
    both = [subprocess.Popen(command, env={**os.environ, "XDG_CACHE_HOME": cache}, stdout=subprocess.PIPE, text=True)
            for _ in range(2)]
    last = {process.communicate()[0].splitlines()[-1] for process in both}
    expect(len(last) == 1, f"two processes at once: {last}")
    entry = last.pop().removeprefix("emitted: compiled at run time, ")
    expect(os.listdir(f"{cache}/carousel") == [os.path.basename(entry)], f"{os.listdir(cache + '/carousel')}")
    whole = open(entry, "rb").read()
    write(entry, whole[:400] + b"x" + whole[401:])
    runs_as(re.escape(entry), XDG_CACHE_HOME=cache)
    expect(open(entry, "rb").read() == whole, "the poisoned entry is still there")


def test_cell_emit():
    for name in ("gru", "layernorm"):
        ok("cell", "emit", name, out=r"^static void program0\(const car_vector_slot")
    lines = [f"a{i} = tanh(a{i - 1}*c + 0.{i}) - 0.5*a{i // 2}*a{i - 1}" for i in range(1, 31)]
    write("long.cell", "\n".join(["cell long(x) -> h", "state h, c", "a0 = W@x + U@h", *lines, "c' = a30*c", "h' = tanh(c')\n"]))
    for name, side in (("gru", "SIDE_BY_SIDE"), ("long.cell", "1")):
        ok("cell", "emit", name, out=rf"^enum {{ program0_side = {side} }};$")
    refused(2, "baseline", "cell", "emit", "gru", "--level", "sse9")
    source = ok("cell", "emit", "gru", "--level", "baseline", out="car_native_programs").out
    compiler = os.environ.get("CAR_CC", "cc").split()
    write("gru.c", source)
    subprocess.run([*compiler, "-std=gnu11", "-fPIC", "-shared", "gru.c", "-o", "gru.so"], check=True)


def test_what_is_one_value_a_row():
    """A root mean square is taken before the loop over the row's units, a norm's 1/sqrt not in a program at all; what only one
    step needs is not kept for all."""
    write("rms.cell", "cell rms(x) -> h\nstate h\na = W@x + U@h\nr = 1/sqrt(mean(a*a) + 0.1)\nh' = tanh(g*(a*r))\n")
    expect("v_sqrt" not in ok("cell", "emit", "rms.cell").out, "a root mean square is made along with its mean")
    ok("cell", "explain", "rms.cell", out=r"mean0 = mean of gate0 squared, mean1 = 1 / sqrt of these \+ 0\.1")
    write("root.cell", "cell root(x) -> h\nstate h\na = W@x + U@h\nr = 1/sqrt(mean(abs(a)) + 0.1)\nh' = tanh(g*(a*r))\n")
    source = ok("cell", "emit", "root.cell").out
    bodies = re.findall(r"_vectors\(int row, int i, .*?\n}\n", source, re.S)
    expect(len(bodies) > 1, "no bodies of loops")
    for body in bodies:
        expect(" / " not in body and "v_sqrt" not in body, body)
    expect("v_sqrt" in source, "a mean's root is taken somewhere")
    expect("v_sqrt" not in ok("cell", "emit", "layernorm-lstm").out, "a program of layernorm-lstm takes a root")
    explained = ok("cell", "explain", "layernorm-lstm", "--hidden", "64", out=" 2816 bytes kept for the backward pass").out
    loop = explained[explained.index("\nbackward loop"):explained.index("\nafter the backward loop")]
    expect(loop.count("  stage ") == 4, "the gradient of a layer norm waits for one round of means")
    expect(len(re.findall(r"mean of work\d+ times a[ifgoc]\n", loop)) == 10, "means take the gains along")
    expect(len(re.findall(r"      work\d+ = ", loop)) == 10, "a layer norm stores what its vectors' gradients are made of, no more")


def test_bad_cells():
    place = r"^carousel: bad\.cell:\d+:\d+: "
    bad = {
        "": r"^carousel: bad\.cell",
        "x": place,
        "cell a(x) -> h\nstate h\nh' = tanh(W@x + U@h": place,
        "cell a(x) -> h\nstate h\nh' = tanh(W@x + U@h) +": place,
        "cell a(x) -> h\nstate h\np = q*2\nq = p*2\nh' = tanh(W@x) + q": place + ".*",
        "cell a(x) -> h\nstate h\nu = sigmoid(W@x)\nh' = tanh(V@x + U@h)": place,
        "cell a(x) -> h\nstate h\nh' = tanh(W + h)": place + r".*\[n\]\[n\].*\[n\]",
        "cell a(x) -> h\nstate h\nh' = tanh(W@x)\nh' = tanh(U@h)": place,
        "cell a(x) -> y\nstate h\nh' = tanh(W@x)": place,
        "cell a(x) -> h\nstate h\nh' = flip(W@x)": place,
        "cell a(x) -> h\nstate h\nh' = tanh(W@x)\ninit bq = 1": place,
        "cell a(x) -> h\nstate h\nh' = " + "(" * 5000 + "x" + ")" * 5000: place,
        b"cell a(x) -> h\nstate h\nh' = tanh(W@x)\0\n": place,
        b"cell a(x) -> h\nstate h\nh' = \xff\xfe\n": place,
        b"\x00\x01\x02\x7fELF": place,
    }
    for text, error in bad.items():
        write("bad.cell", text)
        result = refused(3, error, "cell", "check", "bad.cell")
        expect(not result.out, f"output beside the error: {result.out}")


def test_shape_errors_name_place_and_both_shapes():
    refused(2, r"layernorm:\d+:\d+: .*\[3\].*\[5\]", "cell", "explain", "layernorm", "--input", "3", "--hidden", "5")


def test_missing_and_unreadable_files():
    refused(5, "nowhere.cell: .*No such file", "cell", "check", "nowhere.cell")
    refused(5, "(?i)directory", "cell", "check", "./")
    refused(2, "no such cell in the zoo; did you mean lstm", "cell", "show", "lsmt")
    refused(5, "No such file", "info", "nowhere.safetensors")
    refused(5, "(?i)directory", "info", "/")


def test_info_of_the_machine():
    ok("info", out=r"^cpu level +(baseline|avx2|avx512|amx)")
    result = json.loads(ok("info", "--json").out)
    expect(result["threads"] >= 1 and result["version"], f"{result}")


def test_cpu_level_can_be_lowered():
    ok("info", out=r"^cpu level +baseline", env={"CAROUSEL_CPU": "baseline"})
    refused_level = run("lm", "eval", "x", "y", env={"CAROUSEL_CPU": "quantum"})
    expect(refused_level.code != 0, "an unknown CPU level must be an error")


def test_info_refuses_what_is_no_model():
    cases = [b"", b"x", b"\x00" * 8, b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"\x08\0\0\0\0\0\0\0{}      " + b"x",
             b"\x40\0\0\0\0\0\0\0" + b'{"a":' * 12 + b"1" * 4]
    for case in cases:
        write("m.safetensors", case)
        result = refused(4, "m.safetensors", "info", "m.safetensors")
        expect(not result.out, "output beside the error")


def test_full_disk_is_exit_5():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([CAROUSEL, "cell", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    expect(done.returncode == 5, f"exit {done.returncode}")
    matches("^carousel: standard output: ", done.stderr, "stderr")


def test_closed_stdout():
    done = subprocess.run(f'"{CAROUSEL}" cell list >&-', shell=True, capture_output=True, text=True, check=False)
    expect(done.returncode == 5, f"exit {done.returncode}: {done.stderr}")


def test_reader_that_leaves_is_no_error():
    script = f'"{CAROUSEL}" cell explain layernorm-lstm | head -c 1 >/dev/null; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    expect(done.stdout == "0\n" and not done.stderr, f"{done}")


def test_errors_are_one_printable_line():
    result = run("cell", "show", "a\nb\x1b[31m\x07.cell")
    expect(result.code == 5 and result.err.count("\n") == 1, f"{result.err!r}")
    expect("\x1b" not in result.err and "\x07" not in result.err, f"{result.err!r}")


if __name__ == "__main__":
    main(globals())
