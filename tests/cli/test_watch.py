"""carousel watch, as a user runs it: rows from a pipe, an answer to each at once, states saved and gone on from."""
import json
import math
import os
import random
import select
import signal
import subprocess

from harness import CAROUSEL, expect, main, matches, ok, refused, write


def wave(kind, steps, numbers):
    phase, speed = numbers.uniform(0, 6.28), {"slow": 0.3, "fast": 0.9}[kind]
    return [(round(math.sin(phase + speed * t) + numbers.gauss(0, 0.1), 4), round(100 + 10 * math.cos(phase + speed * t), 4))
            for t in range(steps)]


def examples(count, seed):
    numbers = random.Random(seed)
    return [(("slow", "fast")[i % 2], wave(("slow", "fast")[i % 2], numbers.randint(10, 20), numbers)) for i in range(count)]


def table(sequences):
    return "id,a,b,label\n" + "".join(f"s{i},{a},{b},{kind}\n" for i, (kind, rows) in enumerate(sequences) for a, b in rows)


def train(name, *options):
    write("train.csv", table(examples(40, 1)))
    ok("classify", "train", "train.csv", "-o", name, "--threads", "1", "--hidden", "12", "--epochs", "20", "--direction",
       "forward", *options)


def answers(model, rows, *options):
    return [json.loads(line) for line in ok("watch", model, *options, stdin=rows).out.splitlines()]


def test_last_row_answers_as_the_whole_sequence():
    sequences = examples(12, 5)
    write("new.csv", table(sequences))
    for head, options in (("last", []), ("mean", ["--differences"])):
        train(f"{head}.safetensors", "--head", head, *options)
        whole = json.loads(ok("classify", "predict", f"{head}.safetensors", "new.csv", "--json", "--probabilities").out)
        rows = "a,b\n" + "\n".join("".join(f"{a},{b}\n" for a, b in steps) for _, steps in sequences)
        watched = answers(f"{head}.safetensors", rows, "--probabilities")
        expect(len(watched) == sum(len(steps) for _, steps in sequences), len(watched))
        ends = [watched[i] for i in range(len(watched)) if i + 1 == len(watched) or watched[i + 1]["step"] == 1]
        for end, (_, steps), expected in zip(ends, sequences, whole["predictions"], strict=True):
            expect(end["step"] == len(steps) and end["class"] == expected["class"], (end, expected))
            for name, value in expected["probabilities"].items():
                expect(abs(end["probabilities"][name] - value) < 2e-5, (head, end, expected))


def test_a_class_a_row():
    numbers, lines = random.Random(3), ["id,a,label"]
    for i in range(60):
        value = 0.0
        for _ in range(15):
            step = numbers.choice((-1, 1)) * numbers.uniform(0.5, 1.5)
            value += step
            lines.append(f"{i},{value:.4f},{'up' if step > 0 else 'down'}")
    write("train.csv", "\n".join(lines) + "\n")
    ok("classify", "train", "train.csv", "-o", "m.safetensors", "--threads", "1", "--head", "each", "--direction", "forward",
       "--epochs", "10")
    predicted = ok("classify", "predict", "m.safetensors", "train.csv").out.splitlines()[1:]
    rows = "id,a\n" + "\n".join(",".join(line.split(",")[:2]) for line in lines[1:]) + "\n"
    watched = answers("m.safetensors", rows)
    expect([f"{w['id']},{w['step']},{w['class']},{w['probability']:.6g}" for w in watched] == predicted, "not the same bits")


def test_forms_of_rows():
    train("m.safetensors")
    named = answers("m.safetensors", "b,x,a\n100,9,0.5\n101,9,0.25\n")
    expect(named == answers("m.safetensors", "0.5,100\n0.25,101\n"), "without a header")
    expect(named == answers("m.safetensors", '"a","b"\r\n "0.5" ,100\r\n0.25, 101 \r\n'.replace(' "0.5" ', '"0.5"')), "quotes")
    expect(named == answers("m.safetensors", '{"b": 100, "a": 0.5}\n{"a": 0.25, "b": 101, "c": []}\n'), "objects")
    expect(named == answers("m.safetensors", "[0.5, 100]\n[0.25, 101]"), "arrays, no line end at the end")
    two = answers("m.safetensors", "id,a,b\nx,0.5,100\ny,0.5,100\nx,0.25,101\ny,0.25,101\n")
    expect([(w["id"], w["step"]) for w in two] == [("x", 1), ("y", 1), ("x", 2), ("y", 2)], two)
    for i, w in enumerate(two):
        expect(w["probability"] == named[i // 2]["probability"], "streams disturb each other")
    again = answers("m.safetensors", "sensor,a,b\nx,0.5,100\nx,0.25,101\n", "--id", "sensor")
    expect([w["probability"] for w in again] == [w["probability"] for w in named], again)


def test_state_is_kept():
    train("m.safetensors", "--head", "mean", "--differences")
    rows = [f"{'xyz'[i % 3]},{math.sin(i / 3):.4f},{100 + i % 7}\n" for i in range(60)]
    whole = answers("m.safetensors", "id,a,b\n" + "".join(rows))
    first = answers("m.safetensors", "id,a,b\n" + "".join(rows[:31]), "--save-state", "now.state")
    rest = answers("m.safetensors", "id,a,b\n" + "".join(rows[31:]), "--load-state", "now.state", "--save-state", "now.state")
    expect(first + rest == whole, "gone on from a state is not as if never stopped")
    ok("quantize", "m.safetensors", "-o", "q.safetensors")
    small = answers("q.safetensors", "id,a,b\n" + "".join(rows))
    expect(all(abs(a["probability"] - b["probability"]) < 0.1 for a, b in zip(small, whole, strict=True)), "int8 answers otherwise")
    refused(4, "the state of another model", "watch", "q.safetensors", "--load-state", "now.state")
    train("n.safetensors", "--seed", "2", "--head", "mean", "--differences")
    refused(4, "the state of another model", "watch", "n.safetensors", "--load-state", "now.state")
    refused(4, "no state of `carousel watch`", "watch", "m.safetensors", "--load-state", "m.safetensors")
    write("cut.state", open("now.state", "rb").read()[:-9])
    refused(4, "cut.state", "watch", "m.safetensors", "--load-state", "cut.state")
    refused(5, "No such file", "watch", "m.safetensors", "--load-state", "none.state")
    refused(5, "nowhere", "watch", "m.safetensors", "--save-state", "nowhere/s")
    ok("watch", "m.safetensors", "--save-state", "empty.state")
    expect(answers("m.safetensors", "1,100\n", "--load-state", "empty.state"), "an empty state")


def test_answers_at_once_and_ends_by_signal():
    train("m.safetensors")
    process = subprocess.Popen([CAROUSEL, "watch", "m.safetensors", "--save-state", "now.state"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for i in range(3):
        process.stdin.write(f"0.{i},100\n".encode())
        process.stdin.flush()
        expect(select.select([process.stdout], [], [], 30)[0], "no answer while the pipe is open")
        expect(json.loads(process.stdout.readline())["step"] == i + 1, "another row's answer")
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=30)[1].decode()
    expect(process.returncode == 130, f"{process.returncode}: {error}")
    matches(r"3 rows of 1 streams.* us \(p50\), .* us \(p99\)", error, "stderr")
    expect(answers("m.safetensors", "0.3,100\n", "--load-state", "now.state")[0]["step"] == 4, "the state is lost")
    summary = json.loads(ok("watch", "m.safetensors", "--json", stdin="1,100\n" * 50).out.splitlines()[-1])
    expect(summary["rows"] == 50 and 0 < summary["latency_p50_us"] <= summary["latency_p99_us"], summary)


def series(count, seed):
    numbers = random.Random(seed)
    return [round(10 + 3 * math.sin(i / 2) + 2 * math.cos(i / 3.1) + numbers.gauss(0, 0.1), 4) for i in range(count)]


def test_forecasts_and_anomalies():
    values = series(360, 1)
    write("past.csv", "ds,y\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values[:300])))
    ok("forecast", "train", "past.csv", "-o", "f.safetensors", "--horizon", "3", "--reference", "mean", "--updates", "300",
       "--threads", "1")
    values[340] += 9
    rows = "ds,y\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values))
    watched = answers("f.safetensors", rows)
    expect(len(watched) == 360 and "expected" not in watched[0] and "forecast" not in watched[0], watched[0])
    # after the last row of the training part it says what `forecast predict` says
    predicted = json.loads(ok("forecast", "predict", "f.safetensors", "past.csv", "--json").out)["forecasts"]
    expect(watched[299]["forecast"] == [one["forecast"] for one in predicted], (watched[299], predicted))
    expect(watched[299]["q0.9"] == [one["q0.9"] for one in predicted], (watched[299], predicted))
    # what was foretold is what the next value is compared with
    for before, after in zip(watched[100:], watched[101:]):
        expect(after["expected"] == before["q0.5"][0], (before, after))
        expect(after["outside"] == (not before["q0.1"][0] <= after["value"] <= before["q0.9"][0]), (before, after))
        half = (before["q0.9"][0] - before["q0.1"][0]) / 2
        expect(abs(after["score"] - abs(after["residual"]) / half) < 1e-6, after)
    strange = [i for i, answer in enumerate(watched) if answer.get("anomaly")]
    expect(340 in strange and watched[340]["score"] == max(answer.get("score", 0) for answer in watched), strange)
    expect(not [answer for answer in answers("f.safetensors", rows, "--threshold", "1e6") if answer.get("anomaly")], "threshold")
    first = answers("f.safetensors", "y\n" + "".join(f"{value}\n" for value in values[:200]), "--save-state", "s")
    rest = answers("f.safetensors", "".join(f"{value}\n" for value in values[200:]), "--load-state", "s")
    expect(first + rest == watched, "gone on from a state is not as if never stopped")
    two = answers("f.safetensors", "unique_id,ds,y\n" + "".join(f"a,{i},{v}\nb,{i},{v}\n" for i, v in enumerate(values[:60])))
    expect([answer["step"] for answer in two[-2:]] == [60, 60] and two[-1]["forecast"] == watched[59]["forecast"], two[-1])
    refused(3, "no column `y`", "watch", "f.safetensors", stdin="a,b\n1,2\n")
    expect(answers("f.safetensors", "a,b\n1,2\n", "--value", "b")[0]["value"] == 2, "--value")


def test_covariates_are_refused():
    write("past.csv", "ds,y,x\n" + "".join(f"{i},{value},{i % 5}\n" for i, value in enumerate(series(100, 1))))
    ok("forecast", "train", "past.csv", "-o", "f.safetensors", "--horizon", "2", "--value", "y", "--unknown", "x", "--updates", "5",
       "--threads", "1")
    refused(2, "reads covariates", "watch", "f.safetensors", stdin="1\n")


def test_refusals():
    train("m.safetensors")
    for rows, error in (("1,2,3\n", "standard input:1:1: 3 values, the model reads 2"),
                        ("a,b\n1,2\n1,x\n", "standard input:3:3: `x` is no number"),
                        ("a,b\n1,2\n1\n", "standard input:3:1: 1 fields"),
                        ("a,c\n1,2\n", "no column `b`"),
                        ("a,b\n1,NA\n", "a value is missing"),
                        ('a,b\n1,"2\n', "a quote that is not closed"),
                        ("1,2\0\n", "NUL|no number"),
                        ("1,2," + "3" * 2 ** 20 + "\n", "more than 1 MiB"),
                        ('{"a": 1}\n', "`b` is missing"),
                        ('{"a": 1, "b": "2"}\n', "`b` is no number"),
                        ('{"a": 1, "b": 2}\n{"a"\n', "standard input:2:"),
                        ("[1]\n", "1 values, the model reads 2")):
        refused(3, error, "watch", "m.safetensors", stdin=rows)
    result = refused(3, "standard input:3:3", "watch", "m.safetensors", "--save-state", "s", stdin="a,b\n1,2\n1,x\n")
    expect(len(result.out.splitlines()) == 1 and os.path.exists("s"), "what was answered before is kept")
    write("train.csv", table(examples(20, 1)))
    ok("classify", "train", "train.csv", "-o", "both.safetensors", "--threads", "1", "--epochs", "1")
    refused(2, "a `bi` layer.*--direction forward", "watch", "both.safetensors", stdin="1,2\n")
    write("book.txt", "the cat sat on the mat.\n" * 100)
    ok("lm", "train", "book.txt", "-o", "lm.safetensors", "--hidden", "8", "--updates", "2", "--batch", "4", "--unroll", "8")
    refused(4, "neither a classifier nor", "watch", "lm.safetensors", stdin="1,2\n")
    write("t.conll", "a X\nb Y\n\n" * 20)
    ok("tag", "train", "t.conll", "-o", "tag.safetensors", "--threads", "1", "--epochs", "1")
    refused(2, "whole sentences", "watch", "tag.safetensors", stdin="1,2\n")


main(globals())
