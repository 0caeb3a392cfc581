"""carousel forecast, as a user runs it: real invocations, bad files, the verdict on signal and on noise."""
import json
import math
import random

import harness
from harness import expect, ok, refused, write


def table(values, start=1):
    return "ds,y\n" + "".join(f"{start + i},{value!r}\n" for i, value in enumerate(values))


def wave(count):
    return [10 + 3 * math.sin(i / 2) + 2 * math.cos(i / 3.1) for i in range(count)]


def walk(count):
    numbers, value = random.Random(7), 100.0
    out = []
    for _ in range(count):
        value += numbers.gauss(0, 1)
        out.append(value)
    return out


def backtest(*options):
    return json.loads(ok("forecast", "backtest", "t.csv", "--json", *options).out)


def test_signal_is_found():
    write("t.csv", table(wave(300)))
    result = backtest("--horizon", 3, "--windows", 20, "--reference", "mean", "--updates", 400)
    expect(result["skill"] == "better", result)
    expect(result["leaks"] == 0 and len(result["methods"]) == 5, result)
    expect(result["methods"][0]["rmse"] < 0.5 * result["methods"][1]["rmse"], result)


def test_random_walk_is_not_beaten():
    write("t.csv", table(walk(300)))
    result = backtest("--horizon", 1, "--windows", 60, "--updates", 200)
    expect(result["skill"] in ("none", "worse"), result)


def test_predict_goes_on_after_the_end():
    write("t.csv", "ds,y\n" + "".join(f"{1990 + i // 12}-{i % 12 + 1:02},{5 + i % 12}\n" for i in range(96)))
    run = ok("forecast", "predict", "t.csv", "--horizon", 3, "--updates", 50)
    lines = run.out.splitlines()
    expect(lines[0] == "unique_id,ds,forecast,q0.1,q0.5,q0.9" and len(lines) == 4, run.out)
    expect([line.split(",")[1] for line in lines[1:]] == ["1998-01", "1998-02", "1998-03"], run.out)
    expect(ok("forecast", "predict", "t.csv", "--horizon", 3, "--updates", 50).out == run.out, "not the same twice")


def test_bad_files():
    good = ["--horizon", 2, "--updates", 20]

    def bad(content, error, *options):
        write("t.csv", content)
        for verb in ("predict", "backtest"):
            result = refused(3, error, "forecast", verb, "t.csv", *good, *options)
            expect(result.out == "", f"partial output: {result.out}")

    bad(table(wave(60)), r"t\.csv:1:1: no column `z`", "--value", "z")
    bad(table(wave(60)) + "61,many\n", r"t\.csv:62:4: `many` is no number")
    bad("ds,y\n1,2\n", r"has 1 value|the first has 1")
    bad(table([5] * 60), "every series is constant")
    bad("ds,y\n1,NA\n2,NA\n", "no value in any", "--missing", "last")
    bad(table(wave(9)), "windows of a horizon|no series is long enough", "--horizon", 40)
    bad("ds,y\n0,1\n2,1\n4,2\n5,1\n", r"t\.csv:5:1: .*mixed frequencies")
    bad("ds,y\n1,1\n2,1\n2,2\n", r"t\.csv:4:3: .*in line 3 already")
    bad(table([-1.0] + walk(150)), "no logarithm", "--log")
    refused(5, "No such file", "forecast", "predict", "none.csv")
    refused(2, "cannot forecast", "forecast", "predict", "t.csv", "--net", "lstm 8 | softmax")


harness.main(globals())
