"""carousel forecast, as a user runs it: real invocations, bad files, the verdict on signal and on noise."""
import json
import math
import pathlib
import random
import re
import signal
import subprocess
import time

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
    for method in result["methods"][1:4]:  # a baseline's interval holds about what it is to hold, and costs more
        expect(0.6 < method["coverage"] < 0.95 and method["crps"] > result["methods"][0]["crps"], method)


def test_a_season_without_noise_has_no_mase():
    write("t.csv", "ds,y\n" + "".join(f"{i},{i % 7}\n" for i in range(100)))
    options = ("--horizon", 3, "--season", 7, "--windows", 3, "--updates", 5)
    expect(backtest(*options)["best_baseline"] == "seasonal naive", "the best baseline where there is no MASE")
    text = ok("forecast", "backtest", "t.csv", *options).out
    expect(re.search(r"no MASE: .* best baseline \(seasonal naive\) 0\n", text) and "+nan" not in text, text)


def test_naive2_stands_beside_where_there_is_a_season():
    write("t.csv", "ds,y\n" + "".join(f"{1990 + i // 12}-{i % 12 + 1:02},{(100 + i) * (1 + 0.5 * math.sin(i * math.pi / 6))}\n"
                                      for i in range(144)))
    result = backtest("--horizon", 12, "--windows", 2, "--updates", 5)
    expect([method["name"] for method in result["methods"]] == ["model", "naive", "seasonal naive", "drift", "mean", "Naive2"], result)
    expect(result["best_baseline"] == "Naive2", result)
    text = ok("forecast", "backtest", "t.csv", "--horizon", 12, "--windows", 2, "--updates", 5).out
    expect(text.count("Naive2 ") >= 2 and "80 % interval held" in text, text)


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


def tensors(path):
    """All of a safetensors file behind its header."""
    data = pathlib.Path(path).read_bytes()
    return data[8 + int.from_bytes(data[:8], "little"):]


TRAIN = ["--horizon", 3, "--schedule", "constant", "--validate-every", 20, "--patience", 0]


def test_a_model_file_foretells():
    write("t.csv", table(wave(120)))
    result = json.loads(ok("forecast", "train", "t.csv", "-o", "m.safetensors", "--json", "--updates", 60, *TRAIN).out)
    expect(result["model"] == "m.safetensors" and result["windows"] > 50, result)
    run = ok("forecast", "predict", "m.safetensors", "t.csv")
    expect(len(run.out.splitlines()) == 4 and run.out.splitlines()[1].startswith("y,121,"), run.out)
    here = ok("forecast", "predict", "t.csv", "--updates", 60, *TRAIN)
    expect(here.out == run.out, "the file and the training at once do not agree")
    twice = ok("forecast", "predict", "m.safetensors", "m.safetensors", "t.csv")
    expect(twice.out == run.out, "the mean of a forecast with itself is another one")
    write("more.csv", table(wave(160)))
    judged = json.loads(ok("forecast", "backtest", "m.safetensors", "more.csv", "--windows", 13, "--json").out)
    expect(judged["leaks"] == 0 and judged["origins"] == 13, judged)
    refused(3, "has learned from what it would be judged by", "forecast", "backtest", "m.safetensors", "t.csv")
    refused(2, "brings its own --horizon", "forecast", "predict", "m.safetensors", "t.csv", "--horizon", 4)
    write("monthly.csv", "ds,y\n" + "".join(f"{1990 + i // 12}-{i % 12 + 1:02},{i % 7}\n" for i in range(96)))
    refused(3, "the model has learned from", "forecast", "predict", "m.safetensors", "monthly.csv")
    refused(4, "no model of forecasts|not a safetensors|header", "forecast", "predict", "t.csv", "t.csv")


def test_going_on_gives_the_same_bits():
    write("t.csv", table(walk(150)))
    for options in ([], ["--difference"], ["--scale", "series", "--reference", "mean"]):
        ok("forecast", "train", "t.csv", "-o", "whole.safetensors", "--updates", 90, *TRAIN, *options)
        ok("forecast", "train", "t.csv", "-o", "m.safetensors", "--updates", 40, *TRAIN, *options)
        ok("forecast", "train", "--resume", "m.safetensors.last", "--updates", 90)
        expect(tensors("whole.safetensors") == tensors("m.safetensors"), f"other weights {options}")
        first, second = (ok("forecast", "predict", name, "t.csv").out for name in ("whole.safetensors", "m.safetensors"))
        expect(first == second, f"other forecasts {options}")
    refused(2, "--horizon cannot change", "forecast", "train", "--resume", "m.safetensors.last", "--horizon", 4)
    write("t.csv", table(walk(151)))
    refused(3, "has changed since", "forecast", "train", "--resume", "m.safetensors.last")
    refused(4, "without the state of a training run", "forecast", "train", "--resume", "m.safetensors")


def test_interrupted_and_resumed_is_uninterrupted():
    """Also in the cosine's schedule, after a signal and after kill -9."""
    write("t.csv", table(walk(400)))
    train = ["forecast", "train", "t.csv", "--horizon", "3", "--hidden", "24", "--validate-every", "40", "--patience", "0",
             "--updates", "1200", "--checkpoint-seconds", "0.1"]
    ok(*train, "-o", "whole.safetensors")
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        output = f"s{int(number)}.safetensors"
        process = subprocess.Popen([harness.CAROUSEL, *train, "-o", output], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        while not pathlib.Path(output + ".last").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1].decode()
        if process.returncode == 0:
            raise harness.Skip("the run was over before the signal came")
        expect(process.returncode == code, f"exit {process.returncode}: {errors}")
        expect(code < 0 or "--resume" in errors, errors)
        ok("forecast", "train", "--resume", output + ".last")
        expect(tensors(output) == tensors("whole.safetensors"), f"signal {number}: other weights")


def test_refit_trains_at_each_origin():
    write("t.csv", table(walk(120)))
    common = ["--horizon", 2, "--windows", 4, "--updates", 40]
    once, anew = backtest(*common), backtest(*common, "--refit")
    expect(once["leaks"] == anew["leaks"] == 0 and anew["origins"] == 4, anew)
    expect(once["methods"][0]["rmse"] != anew["methods"][0]["rmse"], "the same forecasts with other nets")
    expect(once["methods"][1] == anew["methods"][1], "other baselines")


def test_train_options():
    write("t.csv", table(wave(120)))
    config = json.loads(ok("forecast", "train", "t.csv", "--print-config", "--hidden", 8, "--sort").out)
    expect(config["hidden"] == 8 and config["sort"] is True and config["operands"] == ["t.csv"], config)
    refused(2, "say where the model goes", "forecast", "train", "t.csv")
    refused(2, "--levels", "forecast", "train", "t.csv", "-o", "m.safetensors", "--levels", "0.9,0.1")
    ok("forecast", "train", "t.csv", "-o", "m.safetensors", "--updates", 40, *TRAIN)
    ok("forecast", "train", "t.csv", "-o", "n.safetensors", "--updates", 20, "--load", "m.safetensors", *TRAIN)
    refused(2, "made for another", "forecast", "train", "t.csv", "-o", "n.safetensors", "--load", "m.safetensors",
            "--horizon", 5)
    ok("forecast", "train", "t.csv", "-o", "b.safetensors", "--updates", 20, "--precision", "bf16", "--threads", 2, *TRAIN)
    refused(5, "No such file", "forecast", "train", "t.csv", "-o", "no/such/m.safetensors")


def test_many_series_one_model():
    rows = "".join(f"{name},{i},{level + 3 * math.sin(i / 2 + level)!r}\n" for name, level in (("a", 5), ("b", 900))
                   for i in range(80))
    write("t.csv", "unique_id,ds,y\n" + rows)
    ok("forecast", "train", "t.csv", "-o", "m.safetensors", "--updates", 60, *TRAIN)
    lines = ok("forecast", "predict", "m.safetensors", "t.csv").out.splitlines()
    expect([line.split(",")[:2] for line in lines[1:]] == [[n, str(t)] for n in "ab" for t in (80, 81, 82)], lines)
    result = backtest("--horizon", 3, "--windows", 4, "--updates", 40, "--ensemble", 2)
    expect(len(result["series"]) == 2 and result["nets"] == 2, result)
    expect(result["series"][0]["mase"] >= result["series"][1]["mase"], "the worst is not first")


def test_heads_and_patches():
    numbers = random.Random(3)
    write("t.csv", table([10 + 3 * math.sin(i / 2) + numbers.gauss(0, 1) for i in range(400)]))
    common = ["--horizon", 4, "--context", 24, "--windows", 30, "--updates", 300, "--reference", "mean"]
    for net in ("gru 16 | quantile 0.1 0.5 0.9 last", "gru 16 | gaussian last", "gru 16 | studentt last",
                "patch 6 | gru 16 | quantile last", "gru 16 | linear last"):
        result = backtest("--net", net, *common)
        model = result["methods"][0]
        expect(abs(result["interval"] - 0.8) < 1e-9 and 0.65 < model["coverage"] < 0.92, (net, model))
        expect(result["leaks"] == 0 and result["skill"] == "better" and model["crps"] < 0.75, (net, model))
    expect(backtest("--head", "quantile", "--levels", "0.25,0.5,0.75", *common)["interval"] == 0.5, "levels")
    lines = ok("forecast", "predict", "t.csv", "--net", "gru 8 | quantile 0.05 0.5 0.95 last", "--updates", 50).out
    expect(lines.startswith("unique_id,ds,forecast,q0.05,q0.5,q0.95\n"), lines)
    for row in lines.splitlines()[1:]:
        low, middle, high = map(float, row.split(",")[3:])
        expect(low <= middle <= high and float(row.split(",")[2]) == middle, row)
    for net in ("gru 8 | studentt last", "gru 8 | quantile 0.2 0.8 last"):
        ok("forecast", "train", "t.csv", "-o", "m.safetensors", "--net", net, "--updates", 40)
        ok("forecast", "predict", "m.safetensors", "m.safetensors", "t.csv")
    ok("forecast", "train", "t.csv", "-o", "n.safetensors", "--updates", 20)
    refused(4, "its settings are not|its head is not", "forecast", "predict", "m.safetensors", "n.safetensors", "t.csv")
    refused(2, "no multiple of the net's `patch 7`", "forecast", "predict", "t.csv", "--net", "patch 7 | gru 8 | linear last")


def shops(kind, count=220, ahead=0):
    """y follows a column: `known` at once, `unknown` a step later."""
    numbers, rows, last = random.Random(5), [], 0
    for i in range(count + ahead):
        now = numbers.choice((0, 1))
        y = 10 + 5 * (now if kind == "known" else last) + numbers.gauss(0, 0.2)
        rows.append(f"{i},{y if i < count else ''},{now}\n")
        last = now
    return "ds,y,promo\n" + "".join(rows)


def test_covariates():
    common = ["--context", 16, "--windows", 30, "--updates", 500, "--patience", 0, "--reference", "mean",
              "--scale", "series"]
    for kind, horizon in (("known", 3), ("unknown", 1)):
        write("t.csv", shops(kind))
        error = [backtest("--value", "y", "--horizon", horizon, *options, *common)
                 for options in ([], [f"--{kind}", "promo"])]
        rmse = [result["methods"][0]["rmse"] for result in error]
        expect(rmse[1] < 0.4 * rmse[0] and error[1]["leaks"] == 0, (kind, rmse))
    write("t.csv", shops("known", ahead=3))
    ok("forecast", "train", "t.csv", "-o", "m.safetensors", "--horizon", 3, "--known", "promo", "--updates", 800,
       "--patience", 0, "--context", 16, "--reference", "mean", "--scale", "series")
    lines = ok("forecast", "predict", "m.safetensors", "t.csv").out.splitlines()[1:]
    promo = [int(line.split(",")[2]) for line in shops("known", ahead=3).splitlines()[-3:]]
    expect(len(lines) == 3 and lines[0].split(",")[1] == "220", lines)
    for line, now in zip(lines, promo):
        expect(abs(float(line.split(",")[2]) - 10 - 5 * now) < 1.5, (line, now))
    write("t.csv", shops("known", ahead=2))
    refused(3, "2 steps behind its end hold the known columns", "forecast", "predict", "m.safetensors", "t.csv")
    write("t.csv", re.sub(r"^101,[^,]*,", "101,,", shops("known"), flags=re.MULTILINE))
    refused(3, r"t\.csv:103:5: no value", "forecast", "predict", "m.safetensors", "t.csv")
    write("t.csv", "ds,y,other\n" + "".join(f"{i},{i % 3},1\n" for i in range(50)))
    refused(3, "no column `promo`", "forecast", "predict", "m.safetensors", "t.csv")
    refused(2, "--context 3", "forecast", "predict", "t.csv", "--known", "other", "--horizon", 3, "--context", 2)


def test_static_columns():
    numbers = random.Random(6)
    rows = "".join(f"{name}{k},{i},{i * slope + numbers.gauss(0, 0.3)!r},{name}\n" for k in range(4)
                   for name, slope in (("up", 0.1), ("down", -0.1)) for i in range(60))
    write("t.csv", "unique_id,ds,y,kind\n" + rows)
    ok("forecast", "train", "t.csv", "-o", "m.safetensors", "--horizon", 2, "--static", "kind", "--updates", 60)
    first = ok("forecast", "predict", "m.safetensors", "t.csv").out
    turned = "".join(sorted(rows.splitlines(True), key=lambda row: row.split(",")[0]))
    write("t.csv", "unique_id,ds,y,kind\n" + turned)
    expect(sorted(ok("forecast", "predict", "m.safetensors", "t.csv").out) == sorted(first), "words by their order")
    write("t.csv", "unique_id,ds,y,kind\n" + rows.replace(",up", ",odd"))
    refused(3, "has not seen `odd`", "forecast", "predict", "m.safetensors", "t.csv")


def test_prices_are_returns():
    write("t.csv", "Date,Close\n" + "".join(f"{i},{100 * math.exp(v / 50)!r}\n" for i, v in enumerate(walk(300))))
    config = ok("forecast", "train", "t.csv", "--value", "Close", "-o", "m.safetensors", "--horizon", 1, "--updates", 40)
    expect("log returns" in config.err, config.err)
    stored = ok("info", "m.safetensors").out
    expect("difference: yes" in stored and "season: 1" in stored and "gaps: close" in stored, stored)
    result = backtest("--value", "Close", "--horizon", 1, "--windows", 60, "--updates", 60)
    expect(result["lag1"] > result["lag0"], "a random walk's forecast must be seen to repeat the last value")
    text = ok("forecast", "backtest", "t.csv", "--value", "Close", "--horizon", 1, "--windows", 60, "--updates", 60)
    expect("it repeats the last value" in text.out, text.out)
    plain = ok("forecast", "predict", "t.csv", "--value", "Close", "--prices", "no", "--updates", 20)
    expect("log returns" not in plain.err, plain.err)


def test_pictures():
    write("t.csv", table(wave(150)))
    common = ["--horizon", 4, "--updates", 60]
    run = ok("forecast", "backtest", "t.csv", *common, "--windows", 9, "--plot", "fan.svg", "--report", "r.html",
             env={"LC_ALL": "C.UTF-8"})
    expect("\u28ff" in run.out or any(0x2800 <= ord(c) < 0x2900 for c in run.out), run.out)
    svg, page = (pathlib.Path(name).read_text(encoding="utf-8") for name in ("fan.svg", "r.html"))
    expect("80 % interval" in svg and "<svg" in svg and "foretold from 146 on" in svg, svg[:500])
    expect(page.count("<svg") == 2 and "leak test: 0" in page and "MASE" in page, page[:500])
    ok("forecast", "predict", "t.csv", *common, "--plot", "p.svg")
    ok("forecast", "train", "t.csv", *common, "-o", "m.safetensors", "--plot", "curve.svg")
    expect("validation" in pathlib.Path("curve.svg").read_text(encoding="utf-8"), "no curve")
    refused(2, "a picture ends in", "forecast", "predict", "t.csv", *common, "--plot", "p.bmp")
    refused(5, "no/such", "forecast", "predict", "t.csv", *common, "--plot", "no/such/p.svg")


def test_worst_series_first():
    numbers = random.Random(8)
    rows = "".join(f"{name},{i},{3 * math.sin(i / 2) + numbers.gauss(0, noise)!r}\n"
                   for name, noise in (("calm", 0.1), ("wild", 9)) for i in range(120))
    write("t.csv", "unique_id,ds,y\n" + rows)
    run = ok("forecast", "backtest", "t.csv", "--horizon", 4, "--windows", 5, "--updates", 200, "--report", "r.html")
    expect(run.out.index("  wild") < run.out.index("  calm"), run.out)
    page = pathlib.Path("r.html").read_text(encoding="utf-8")
    expect(page.index("wild, foretold") < page.index("calm, foretold"), "order of the page")


def test_demo():
    run = ok("forecast", "demo", "--plot", "sun.svg", timeout=60)
    expect("the model beats the best baseline" in run.out and "sunspots, foretold from 1980-12 on" in run.out, run.out)
    expect(pathlib.Path("sun.svg").stat().st_size > 3000, "no picture")
    expect(json.loads(ok("forecast", "demo", "--json", "--updates", 20).out)["nets"] == 3, "three nets")


def test_short_series_may_be_left_out():
    rows = "".join(f"{name},{i},{math.sin(i / 2)!r}\n" for name, count in (("a", 80), ("b", 4), ("c", 70)) for i in range(count))
    write("t.csv", "unique_id,ds,y\n" + rows)
    ok("forecast", "train", "t.csv", "-o", "m.safetensors", "--updates", 20, *TRAIN)
    refused(3, "series `b` has 4 values, the model looks back over 9 .*--short skip", "forecast", "predict", "m.safetensors",
            "t.csv")
    run = ok("forecast", "predict", "m.safetensors", "t.csv", "--short", "skip")
    expect([line[0] for line in run.out.splitlines()[1:]] == list("aaaccc") and "1 of 3 series are left out" in run.err, run)
    write("t.csv", "ds,y\n" + "".join(f"{i},{i}\n" for i in range(5)))
    refused(3, "every series is too short", "forecast", "predict", "m.safetensors", "t.csv", "--short", "skip")


def test_what_was_done_is_said():
    rows = [f"{i},{v!r}" for i, v in enumerate(wave(80)) if i not in (20, 21)]
    rows[5], rows[30] = rows[30], rows[5]
    rows.insert(10, rows[9])
    rows[40] = rows[40].split(",")[0] + ",NA"
    write("t.csv", "ds,y\n" + "\n".join(rows) + "\n")
    repair = ["--missing", "last", "--gaps", "last", "--duplicates", "mean", "--sort"]
    for form in ([], ["--json"]):
        run = ok("forecast", "backtest", "t.csv", "--horizon", 2, "--windows", 3, "--updates", 20, *repair, *form)
        expect(re.search(r"missing 1 \(filled 1, dropped 0\), gaps filled 2, duplicates merged 1, out of order [1-9]",
                         run.err), run.err)


def test_budgets():
    write("t.csv", table(wave(120)))
    for budget, least, most in ((["--epochs", 3], 3, 30), (["--minutes", 0.005, "--patience", 0], 1, 10 ** 7), ([], 50, 1000)):
        result = json.loads(ok("forecast", "train", "t.csv", "-o", "m.safetensors", "--json", "--horizon", 2, *budget).out)
        expect(least <= result["updates"] <= most, (budget, result))


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
    bad(table(wave(30)) + "31,NA\n", r"t\.csv:32:4: no value")
    bad("ds,y\n1990-01-01,1\n1990-01-02,2\n1990-01-03,2\n1990-02,4\n", r"t\.csv:5:1: .*written otherwise")
    bad("", r"t\.csv: the file is empty|t\.csv:1:1: the file is empty")
    bad("ds,y\n", "0 rows and no value")
    bad("ds,y\n1,2,3\n", r"t\.csv:2:1: 3 fields where the header has 2")
    write("t.csv", "ds,y\n1,2\n")
    with open("t.csv", "ab") as file:  # 2 GB of holes: refused where they begin, not read
        file.truncate(2 << 30)
    refused(3, "NUL byte", "forecast", "predict", "t.csv", timeout=20)
    write("t.csv", table(wave(60)))
    refused(5, "No such file", "forecast", "predict", "none.csv")
    refused(2, "cannot forecast", "forecast", "predict", "t.csv", "--net", "lstm 8 | softmax")


harness.main(globals())
