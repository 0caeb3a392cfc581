"""`carousel bench` as a user runs it: the shape of its output, never a time."""
import json
import os
import shutil

from harness import Skip, expect, main, matches, ok, refused, write

QUICK = ("--quick", "--threads", "1")
SMALL = (*QUICK, "--hidden", "8", "--input", "3", "--batch", "2", "--steps", "4")
MINE = "cell mine(x) -> h\nstate h\nh' = tanh(W@x + U@h + b)\n"


def rows(*options):
    result = json.loads(ok("bench", "--json", *options).out)
    for rate in (result["peak"]["fma"], *result["read"].values()):
        expect(rate["one"] > 0 and rate["all"] > 0, f"{rate}")
    expect(list(result["read"]) == ["L1", "L2", "L3", "memory"], f"{list(result['read'])}")
    for row in result["rows"]:
        for key in ("seconds", "flop_per_second", "of_peak", "roofline_seconds", "of_roofline"):
            expect(row[key] > 0, f"{key}: {row}")
    return result["rows"]


def test_one_shape():
    for grid in ("training", "inference"):
        (row,) = rows("--grid", grid, "--cell", "gru", *SMALL, "--layers", "2")
        expect((row["grid"], row["cell"], row["batch"], row["steps"], row["input"], row["hidden"], row["layers"])
               == (grid, "gru", 2, 4, 3, 8, 2), f"{row}")
        expect("p99_seconds" not in row, f"{row}")


def test_flop_of_training():
    (row,) = rows("--grid", "training", "--cell", "lstm", *SMALL)
    # 4 gates of 8 units: 96 elements on x and 256 on h, 8 rows; no gradient of the input is asked for
    flop = 2 * 8 * (2 * (96 + 256) + 256)
    expect(abs(row["flop_per_second"] * row["seconds"] / flop - 1) < 1e-6, f"{row}")


def test_bidirectional():
    (row,) = rows("--grid", "training", "--cell", "rnn", *SMALL, "--bi")
    expect(row["bidirectional"], f"{row}")


def test_language_model():
    (row,) = rows("--grid", "training", "--cell", "lstm", *SMALL, "--classes", "50")
    expect(row["classes"] == 50, f"{row}")


def test_streaming_has_percentiles():
    result = rows("--grid", "streaming", "--cell", "rnn", *SMALL)
    expect(len(result) == 1 and 0 < result[0]["p50_seconds"] <= result[0]["p99_seconds"], f"{result}")


def test_bound_threads_use_all_processors():
    threads = [json.loads(ok("bench", "--json", "--grid", "products", "--quick", "--batch", "1", "--hidden", "16", "--input", "16",
                             env=env).out)["threads"] for env in ({}, {"OMP_PROC_BIND": "true"}, {"OMP_PLACES": "cores"})]
    expect(threads[0] == threads[1] == threads[2], f"{threads}")


def test_own_cell_and_elementwise_input():
    write("mine.cell", MINE)
    names = [(row["cell"], row["input"]) for row in
             rows("--grid", "inference", "--cell", "mine.cell", "--cell", "mut1", *SMALL)]
    expect(names == [("mine", 3), ("mut1", 8)], f"{names}")


def test_own_cells_are_measured_as_they_run():
    """Compiled, as by what trains and runs them, or by the interpreter where the user says so."""
    if not shutil.which(os.environ.get("CC", "cc").split()[0]):
        raise Skip("no C compiler")
    write("mine.cell", MINE.replace("tanh(", "0.9*tanh("))
    for native, entries in (("0", 0), ("1", 1)):
        cache = os.path.abspath(f"cache{native}")
        ok("bench", "--grid", "training", "--cell", "mine.cell", *SMALL,
           env={"XDG_CACHE_HOME": cache, "CAROUSEL_NATIVE": native})
        made = os.listdir(f"{cache}/carousel") if os.path.exists(cache) else []
        expect(len(made) == entries, f"CAROUSEL_NATIVE={native}: {made}")


def test_products_grid():
    result = rows("--grid", "products", *QUICK)
    expect(len(result) > 5 and all(row["cell"] is None for row in result), f"{result}")


def test_text():
    out = ok("bench", "--grid", "streaming", "--cell", "rnn", *SMALL, out=r"^fma f32 +\d").out
    for line in (r"^read L1 .*KiB", r"^streaming: ", r"^cell .* p50 +p99$", r"^rnn +2 +3 +8 +\d+\.\d+ us "):
        matches(line, out, "bench")
    expect(max(len(line) for line in out.splitlines()) <= 120, out)


def test_levels():
    result = json.loads(ok("bench", "--json", "--grid", "products", *SMALL, env={"CAROUSEL_CPU": "baseline"}).out)
    expect(result["cpu_level"] == "baseline", f"{result}")
    refused(2, "CAROUSEL_CPU", "bench", *QUICK, env={"CAROUSEL_CPU": "fast"})


def test_refused():
    refused(2, "give its --hidden too", "bench", "--batch", "3")
    refused(2, "what to measure", "bench", "--hidden", "3")
    refused(2, "is for --grid training", "bench", *SMALL, "--grid", "inference", "--classes", "5")
    refused(2, "training", "bench", "--grid", "everything")
    refused(2, "whole number from 0 to 64", "bench", "--threads", "65")
    refused(2, "from 0.001 to 600", "bench", "--seconds", "0")
    refused(2, "no such cell", "bench", *SMALL, "--grid", "inference", "--cell", "nosuch")
    refused(2, "what is lstm for", "bench", "lstm")
    refused(6, "smaller shape", "bench", *QUICK, "--grid", "training", "--cell", "rnn", "--hidden", "8",
            "--batch", "65536", "--steps", "65536")


if __name__ == "__main__":
    main(globals())
