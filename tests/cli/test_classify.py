"""carousel classify, as a user runs it: CSV, .ts and idx files, resuming, bad files with their place, watching."""
import csv
import gzip
import io
import json
import math
import os
import pathlib
import random
import signal
import struct
import subprocess
import time

from harness import CAROUSEL, expect, main, matches, ok, refused, write

FAST = ("--threads", "1", "--hidden", "16", "--epochs", "30")


def wave(kind, steps, numbers):
    """Two channels; the classes differ in frequency, not in the mean."""
    phase, speed = numbers.uniform(0, 6.28), {"slow": 0.3, "fast": 0.9, "mixed": 0.6}[kind]
    return [(math.sin(phase + speed * t) + numbers.gauss(0, 0.1), 100 + 10 * math.cos(phase + speed * t))
            for t in range(steps)]


def examples(count, seed, kinds=("slow", "fast", "mixed")):
    numbers = random.Random(seed)
    return [(kinds[i % len(kinds)], wave(kinds[i % len(kinds)], numbers.randint(15, 25), numbers)) for i in range(count)]


def long_csv(sequences, labels=True):
    lines = ["id,t,a,b" + (",label" if labels else "")]
    for i, (kind, rows) in enumerate(sequences):
        lines += [f"s{i},{t},{a!r},{b!r}" + (f",{kind}" if labels else "") for t, (a, b) in enumerate(rows)]
    return "\n".join(lines) + "\n"


def row_csv(sequences, steps=15):
    lines = [",".join(f"v{t}" for t in range(25)) + ",class"]
    for kind, rows in sequences:
        values = [repr(a) for a, _ in rows]
        lines.append(",".join(values + [""] * (25 - len(values))) + f",{kind}")
    return "\n".join(lines) + "\n"


def ts(sequences, classes="slow fast mixed"):
    lines = ["# a comment", "@problemName waves", "@timeStamps false", "@univariate false", f"@classLabel true {classes}", "@data"]
    for kind, rows in sequences:
        lines.append(":".join(",".join(repr(row[c]) for row in rows) for c in range(2)) + f":{kind}")
    return "\n".join(lines) + "\n"


def idx(count, seed, side=6):
    """Images of a bright row (0), a bright column (1) or a diagonal (2)."""
    numbers, images, labels = random.Random(seed), bytearray(), bytearray()
    for i in range(count):
        kind, at = i % 3, numbers.randrange(side)
        pixels = [[numbers.randrange(40) for _ in range(side)] for _ in range(side)]
        for k in range(side):
            pixels[at if kind == 0 else k][k if kind != 1 else at] = 250
        images += bytes(value for row in pixels for value in row)
        labels.append(kind)
    return struct.pack(">4I", 0x803, count, side, side) + images, struct.pack(">2I", 0x801, count) + labels


def accuracy(*arguments):
    return json.loads(ok("classify", "eval", *arguments, "--json").out)["accuracy"]


def train(data="train.csv", output="m.safetensors", options=(), **how):
    return ok("classify", "train", data, "-o", output, *FAST, *options, **how)


def metadata(path):
    data = pathlib.Path(path).read_bytes()
    return json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]


def weights(path):
    data = pathlib.Path(path).read_bytes()
    return data[8 + struct.unpack("<Q", data[:8])[0]:]


def only(*names):
    found = sorted(path.name for path in pathlib.Path(".").iterdir())
    expect(found == sorted(names), f"files: {found}, expected {sorted(names)}")


def test_long_csv_to_classes():
    write("train.csv", long_csv(examples(90, 1)))
    write("test.csv", long_csv(examples(60, 2)))
    run = train()
    matches(r"validation: accuracy .*always the most frequent class: 33\.3 %", run.out, "train")
    matches(r"calibration: temperature .* before, .* after", run.out, "train")
    result = json.loads(ok("classify", "eval", "m.safetensors", "test.csv", "--json").out)
    expect(result["accuracy"] > 0.9 and result["items"] == 60, result)
    expect(abs(result["majority_accuracy"] - 1 / 3) < 1e-9 and result["accuracy_low"] < result["accuracy"], result)
    expect([entry["name"] for entry in result["classes"]] == ["fast", "mixed", "slow"], result)
    expect(sum(sum(entry["confusion"]) for entry in result["classes"]) == 60, result)
    expect(sum(entry["confusion"][i] for i, entry in enumerate(result["classes"])) == round(60 * result["accuracy"]), result)
    text = ok("classify", "eval", "m.safetensors", "test.csv").out
    for part in (r"macro-F1", r"always `", r"expected calibration error", r"rows: the class it is"):
        matches(part, text, "eval")
    info = json.loads(ok("info", "m.safetensors", "--json").out)
    expect("classify.model" in info["metadata"] and "classify.data" not in info["metadata"], info["metadata"])


def test_predict_needs_no_labels():
    write("train.csv", long_csv(examples(60, 1)))
    train()
    sequences = examples(12, 3)
    write("new.csv", long_csv(sequences, labels=False))
    rows = list(csv.DictReader(io.StringIO(ok("classify", "predict", "m.safetensors", "new.csv", "--probabilities").out)))
    expect([row["id"] for row in rows] == [f"s{i}" for i in range(12)], rows)
    for row in rows:
        parts = [float(row[name]) for name in ("fast", "mixed", "slow")]
        expect(abs(sum(parts) - 1) < 1e-4 and abs(max(parts) - float(row["probability"])) < 1e-6, row)
    data = json.loads(ok("classify", "predict", "m.safetensors", "new.csv", "--json").out)["predictions"]
    expect([entry["class"] for entry in data] == [row["class"] for row in rows], data)
    # columns are found by name, whatever their order, and a surplus one is passed over
    lines = ["b,extra,id,a"] + [f"{b!r},x,s{i},{a!r}" for i, (_, steps) in enumerate(sequences) for a, b in steps]
    write("turned.csv", "\n".join(lines) + "\n")
    again = json.loads(ok("classify", "predict", "m.safetensors", "turned.csv", "--json").out)["predictions"]
    expect(again == data, "the order of the columns matters")


def test_every_format_and_ensembles():
    write("row.csv", row_csv(examples(90, 1)))
    train("row.csv", "row.safetensors")
    expect(accuracy("row.safetensors", "row.csv") > 0.8, "row")
    write("a_TRAIN.ts", ts(examples(90, 1)))
    write("a_TEST.ts", ts(examples(60, 2)))
    for seed in (1, 2):
        train("a_TRAIN.ts", f"ts{seed}.safetensors", ["--seed", seed])
    both = json.loads(ok("classify", "eval", "ts1.safetensors", "ts2.safetensors", "a_TEST.ts", "--json").out)
    expect(both["models"] == 2 and both["accuracy"] > 0.9, both)
    images, labels = idx(150, 1)
    write("x-images-idx3-ubyte.gz", gzip.compress(images))
    write("x-labels-idx1-ubyte.gz", gzip.compress(labels))
    train("x-images-idx3-ubyte.gz", "idx.safetensors", ["--scaling", "all"])
    expect(accuracy("idx.safetensors", "x-images-idx3-ubyte.gz") > 0.8, "idx")
    refused(2, "alike", "classify", "eval", "ts1.safetensors", "idx.safetensors", "a_TEST.ts")
    refused(3, "images of 6 columns, the model reads 2", "classify", "eval", "ts1.safetensors", "x-images-idx3-ubyte.gz")


def states(count, seed):
    """A class a step: `up` while the value has risen since the last step."""
    numbers, lines = random.Random(seed), ["id,value,label"]
    for i in range(count):
        value = 0.0
        for _ in range(20):
            step = numbers.choice((-1, 1)) * numbers.uniform(0.5, 1.5)
            value += step
            lines.append(f"{i},{value:.4f},{'up' if step > 0 else 'down'}")
    return "\n".join(lines) + "\n"


def test_a_class_a_step():
    write("train.csv", states(80, 1))
    write("test.csv", states(40, 2))
    refused(3, r"train\.csv:\d+:\d+: the label changes within a sequence", "classify", "train", "train.csv", "-o", "m.safetensors")
    train(options=["--head", "each", "--epochs", "60"])
    result = json.loads(ok("classify", "eval", "m.safetensors", "test.csv", "--json").out)
    expect(result["unit"] == "step" and result["items"] == 800 and result["accuracy"] > 0.9, result)
    rows = ok("classify", "predict", "m.safetensors", "test.csv").out.splitlines()
    expect(rows[0] == "id,step,class,probability" and len(rows) == 801, rows[:3])


def test_folds():
    """Each sequence is judged by a net that has not seen it: what has no reason is not foretold, however well it is learned."""
    numbers = random.Random(5)
    write("chance.csv", "a,b,c,d,e,f,g,h,label\n" + "".join(
        ",".join(f"{numbers.gauss(0, 1):.3f}" for _ in range(8)) + f",{'xy'[numbers.random() < 0.5]}\n" for _ in range(60)))
    net = ("--net", "patch 8 | dense 64 x2 | softmax last", "--epochs", "200", "--threads", "1")
    run = ok("classify", "train", "chance.csv", "-o", "m.safetensors", *net, "--folds", "6")
    matches(r"learned from all.*\n6-fold validation: accuracy .*60 judged.*\ncalibration: temperature", run.out, "train")
    only("chance.csv", "m.safetensors")
    result = json.loads(ok("classify", "train", "chance.csv", "-o", "m.safetensors", *net, "--folds", "6", "--json").out)
    expect(result["folds"] == 6 and result["judged"] == 60 == result["learned"], result)
    expect(result["accuracy"] < 0.7 and accuracy("m.safetensors", "chance.csv") > 0.95, result)
    expect(result["temperature"] > 2, "a net that is sure of what has no reason")
    expect(json.loads(metadata("m.safetensors")["classify.model"])["temperature"] == result["temperature"], result)
    expect("--folds 10 judges by all" in ok("classify", "train", "chance.csv", "-o", "all.safetensors", *net).out, "12 judged, no hint")
    # the kept net is the one that learns from all
    ok("classify", "train", "chance.csv", "-o", "all.safetensors", *net, "--valid-fraction", "0")
    expect(weights("m.safetensors") == weights("all.safetensors"), "another net than that of all sequences")
    write("train.csv", long_csv(examples(90, 1)))
    result = json.loads(train(options=("--folds", "5", "--json")).out)
    expect(result["accuracy"] > 0.9, result)
    for words, options in (("--folds 1 leaves nothing", ["1"]), ("--folds 61 of 60", ["61"]), ("take --valid away", ["5", "--valid", "train.csv"]),
                           ("take one away", ["5", "--load", "m.safetensors"])):
        refused(2, words, "classify", "train", "chance.csv", "-o", "x.safetensors", "--folds", *options)


def test_patch_completes_what_is_short_of_a_step():
    sequences = examples(30, 1)
    write("train.csv", long_csv(sequences))
    full = [(kind, rows + [rows[-1]] * (-len(rows) % 4)) for kind, rows in sequences]
    write("full.csv", long_csv(full))
    net = ("--net", "patch 4 | gru 8 bi | softmax mean", "--threads", "1", "--epochs", "3")
    for name in ("train", "full"):
        ok("classify", "train", f"{name}.csv", "-o", f"{name}.safetensors", *net, "--scaling", "none", "--warp", "0")
    expect(weights("train.safetensors") == weights("full.safetensors"), "not as if the last row came again")
    expect(ok("classify", "predict", "train.safetensors", "train.csv").out == ok("classify", "predict", "train.safetensors", "full.csv").out,
           "predicts otherwise")
    ok("classify", "train", "train.csv", "-o", "w.safetensors", *net, "--warp", "0.3", "--shift", "3", "--updates", "2")
    ok("classify", "train", "--resume", "w.safetensors.last", "--updates", "3")
    refused(2, "`patch` makes one of several.*softmax mean", "classify", "train", "train.csv", "-o", "x", "--net", "patch 4 | gru 8 | softmax each")
    ok("classify", "train", "train.csv", "-o", "f.safetensors", "--net", "patch 4 | gru 8 | softmax mean", "--updates", "1")
    refused(2, "patch", "watch", "f.safetensors", stdin="1,2\n")


def test_differences():
    """A net without a memory tells up from down by the change to the row before, and by nothing else."""
    numbers, lines = random.Random(3), ["id,a,label"]
    for i in range(60):
        value = 0.0
        for _ in range(15):
            step = numbers.choice((-1, 1)) * numbers.uniform(0.5, 1.5)
            value += step
            lines.append(f"{i},{value:.4f},{'up' if step > 0 else 'down'}")
    write("train.csv", "\n".join(lines) + "\n")
    net = ("--net", "dense 8 | softmax each", "--threads", "1", "--epochs", "20", "--scaling", "all")
    ok("classify", "train", "train.csv", "-o", "without.safetensors", *net)
    ok("classify", "train", "train.csv", "-o", "with.safetensors", *net, "--differences")
    expect(accuracy("without.safetensors", "train.csv") < 0.75, "there is more in a value than was meant")
    expect(accuracy("with.safetensors", "train.csv") > 0.93, "differences are not read")  # of a first row there is none
    shape = json.loads(metadata("with.safetensors")["classify.model"])
    expect(shape["channels"] == 1 and len(shape["mean"]) == 2 and shape["differences"] is True, shape)
    accuracy("with.safetensors", "without.safetensors", "train.csv")
    ok("classify", "train", "train.csv", "-o", "on.safetensors", "--load", "with.safetensors", "--epochs", "1", "--threads", "1")
    expect(json.loads(metadata("on.safetensors")["classify.model"])["mean"] == shape["mean"], "the scaling is kept")
    ok("classify", "train", "--resume", "on.safetensors.last", "--epochs", "2")
    refused(2, "--shift-channels would move", "classify", "train", "train.csv", "-o", "x", "--differences", "--shift-channels", "1")
    refused(2, "brings its own differences", "classify", "train", "train.csv", "-o", "x", "--load", "with.safetensors",
            "--differences")


def test_same_bits():
    """Twice, with other threads, interrupted and resumed: the same model, byte for byte but for the seconds."""
    write("train.csv", long_csv(examples(60, 1)))
    how = ["--noise", "0.1", "--warp", "0.1", "--shift", "2", "--dropout", "0.2", "--schedule", "constant", "--patience", "0"]

    def answers(model):
        return ok("classify", "predict", model, "train.csv", "--probabilities").out

    train(output="a.safetensors", options=how)
    train(output="b.safetensors", options=[*how, "--threads", "2"])
    expect(answers("a.safetensors") == answers("b.safetensors"), "threads change the result")
    train(output="c.safetensors", options=[*how, "--updates", "31"])
    ok("classify", "train", "--resume", "c.safetensors.last", "--updates", "90")
    expect(answers("a.safetensors") == answers("c.safetensors"), "resumed is not as if never interrupted")
    expect(answers("a.safetensors") == ok("classify", "predict", "a.safetensors", "train.csv", "--probabilities",
                                          "--threads", "2").out, "threads change the answers")
    refused(2, "cannot change", "classify", "train", "--resume", "c.safetensors.last", "--rate", "1")
    write("train.csv", long_csv(examples(60, 9)))
    refused(3, "the data has changed", "classify", "train", "--resume", "c.safetensors.last", "--updates", "91")


def test_load_keeps_classes_and_scaling():
    write("train.csv", long_csv(examples(60, 1)))
    train()
    write("more.csv", long_csv(examples(30, 4, ("fast", "slow"))))
    ok("classify", "train", "more.csv", "--load", "m.safetensors", "-o", "n.safetensors", "--threads", "1", "--epochs", "2")
    before, after = (json.loads(metadata(name)["classify.model"]) for name in ("m.safetensors", "n.safetensors"))
    for what in ("classes", "mean", "deviation"):
        expect(before[what] == after[what], f"{what}: {before} {after}")
    expect(accuracy("n.safetensors", "train.csv") > 0.5, "the third class is forgotten at once")
    refused(2, "brings its own", "classify", "train", "more.csv", "--load", "m.safetensors", "-o", "n.safetensors", "--hidden", "8")
    write("other.csv", long_csv(examples(30, 4)).replace("slow", "still"))
    refused(3, r"other\.csv:2:\d+: class `still` is unknown; there are `fast`", "classify", "train", "other.csv", "--load",
            "m.safetensors", "-o", "n.safetensors")


def interrupted(*options):
    """Output and messages of a training that Ctrl-C ends."""
    write("train.csv", long_csv(examples(90, 1)))
    process = subprocess.Popen([CAROUSEL, "classify", "train", "train.csv", "-o", "m.safetensors", "--epochs", "100000",
                                *options, "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    expect(process.returncode == 130, (process.returncode, error))
    return out, error


def test_interrupted_run_goes_on():
    error = interrupted("--patience", "0")[1].decode()
    expect("--resume m.safetensors.last" in error, error)
    ok("classify", "train", "--resume", "m.safetensors.last", "--epochs", "1")


def test_interrupted_folds():
    out, error = interrupted("--folds", "3")
    expect(b"begin anew" in error and out == b"", (out, error))
    only("train.csv")


def test_nothing_is_lost():
    write("train.csv", long_csv(examples(90, 1)))
    train()
    before = pathlib.Path("m.safetensors").read_bytes()
    write("bad.csv", long_csv(examples(30, 1)).replace("s9,3,", "s9,3,x"))
    refused(3, r"bad\.csv:\d+:\d+: `x", "classify", "train", "bad.csv", "-o", "m.safetensors")
    refused(3, r"bad\.csv", "classify", "train", "train.csv", "--valid", "bad.csv", "-o", "m.safetensors")
    os.rename("train.csv", "gone.csv")
    refused(5, "train.csv: No such file", "classify", "train", "--resume", "m.safetensors.last", "--epochs", "40")
    expect(pathlib.Path("m.safetensors").read_bytes() == before, "a failed run has touched the model")
    os.rename("gone.csv", "train.csv")
    ok("classify", "train", "--resume", "m.safetensors.last", "--epochs", "40")
    ok("quantize", "m.safetensors", "-o", "q.safetensors")
    expect(abs(accuracy("q.safetensors", "train.csv") - accuracy("m.safetensors", "train.csv")) < 0.11, "int8")
    ok("classify", "train", "train.csv", "--load", "q.safetensors", "-o", "n.safetensors", "--threads", "1", "--epochs", "1")


def test_config_and_usage():
    config = json.loads(ok("classify", "train", "x.csv", "-o", "m.safetensors", "--print-config").out)
    expect(config["epochs"] == 0 and config["cell"] == "lstm" and config["scaling"] == "channel", config)
    refused(2, "name a file of sequences", "classify", "train", "-o", "m.safetensors")
    refused(2, "say where the model goes", "classify", "train", "x.csv")
    write("train.csv", long_csv(examples(90, 1)))
    bad = ("classify", "train", "train.csv", "-o", "m.safetensors")
    refused(2, "end it with `softmax`", *bad, "--net", "lstm 8 | linear last")
    refused(2, "take `embed` away", *bad, "--net", "embed 8 | lstm 8 | softmax last")
    refused(2, "brings its own hidden", *bad, "--net", "lstm 8 | softmax last", "--hidden", "9")
    refused(5, "nowhere", "classify", "train", "train.csv", "-o", "nowhere/m.safetensors")
    refused(4, "not a classifier", "classify", "eval", language_model(), "train.csv")
    only("train.csv", "lm.safetensors", "lm.safetensors.last", "book.txt")


def language_model():
    write("book.txt", "the cat sat on the mat.\n" * 100)
    ok("lm", "train", "book.txt", "-o", "lm.safetensors", "--hidden", "8", "--updates", "2", "--batch", "4", "--unroll", "8")
    return "lm.safetensors"


def test_bad_csv():
    good = long_csv(examples(12, 1))

    def bad(content, error, *options, name="t.csv"):
        write(name, content)
        refused(3, error, "classify", "train", name, "-o", "m.safetensors", *options)
        expect(not pathlib.Path("m.safetensors").exists(), "a model of nothing")

    bad(good.replace("s0,3,", "s0,3,many"), r"t\.csv:5:6: `many.*` is no number")
    bad(good + "s99,0,1,2,\n", r"t\.csv:\d+:11: the label is missing")
    bad(good + "s99,0,1,NA,slow\n", r"t\.csv:\d+:9: a value is missing")
    bad(good + "s99,0,1,2\n", r"t\.csv:\d+:1: 4 fields, the header has 5")
    bad(good + "s0,99,1,2,slow\n", r"t\.csv:\d+:1: rows of one sequence must stand together")
    bad(good.replace("s0,3,", "s0,1,"), r"t\.csv:5:4: steps of a sequence must rise")
    bad(good.replace("fast", "slow").replace("mixed", "slow"), "all its labels are `slow`")
    bad("id,t,a,b,label\n", "no sequence in it")
    bad("", "is empty")
    bad("id,label\n1,x\n2,y\n", "no column of values")
    bad("a,b\n1,2\n", "no column `label`")
    bad(good, "no column `z`", "--value", "a,z")
    bad(good + "s99,0,1,1e99,slow\n", r"t\.csv:\d+:9: 1e\+99 is too large")
    bad("v1,v2,class\n1,2,x\n,,y\n", r"t\.csv:3:1: an empty sequence")
    bad("v1,v2,v3,class\n1,2,3,x\n1,2,3,y\n", "no whole steps of 2 channels", "--channels", "2")
    refused(5, "No such file", "classify", "train", "none.csv", "-o", "m.safetensors")
    os.mkdir("folder")
    refused(5, "folder", "classify", "train", "folder", "-o", "m.safetensors")


def test_bad_data_for_a_model():
    write("train.csv", long_csv(examples(90, 1)))
    train()
    write("t.csv", long_csv(examples(30, 2)).replace(",mixed", ",new"))
    refused(3, r"t\.csv:\d+:\d+: class `new` is unknown; there are `fast`, `mixed`, `slow`", "classify", "eval", "m.safetensors", "t.csv")
    ok("classify", "predict", "m.safetensors", "t.csv")
    write("t.csv", "id,a,label\n1,2,slow\n")
    refused(3, r"t\.csv:1:1: no column `b`", "classify", "eval", "m.safetensors", "t.csv")
    write("t.csv", long_csv(examples(30, 2), labels=False))
    refused(3, "no column `label`", "classify", "eval", "m.safetensors", "t.csv")
    refused(5, "No such file", "classify", "eval", "m.safetensors", "none.csv")
    refused(5, "No such file", "classify", "eval", "none.safetensors", "t.csv")


def test_bad_ts():
    good = ts(examples(12, 1))

    def bad(content, error):
        write("t.ts", content)
        refused(3, error, "classify", "train", "t.ts", "-o", "m.safetensors")

    last = good.splitlines()[-1]
    bad(good + last.replace(":mixed", ":other") + "\n", r"t\.ts:19:\d+: a class that @classLabel does not name")
    bad(good + "1,2,3:slow\n", r"t\.ts:19:1: 1 channels, the sequences before have 2")
    bad(good + "1,2,3:1,2:slow\n", r"t\.ts:19:7: this channel has another number")
    bad(good + "1,x,3:1,2,3:slow\n", r"t\.ts:19:3: `x` is no number")
    bad(good + "1,?,3:1,2,3:slow\n", r"t\.ts:19:3: a value is missing")
    bad(good + ":1,2:slow\n", r"t\.ts:19:1: an empty sequence")
    bad(good + "1,2:1,2:\n", r"t\.ts:19:9: the label is missing")
    bad(good.replace("@classLabel true slow fast mixed", "@classLabel false"), "no class labels")
    bad(good.replace("@data", ""), "neither #, @word nor @data|no @data")
    bad("1,2,3:slow\n", "neither #, @word nor @data")
    bad(good.replace("@timeStamps false", "@timeStamps true"), "time stamps")
    bad(good.replace("# a", "# \0"), "NUL byte")


def test_bad_idx():
    images, labels = idx(30, 1)

    def bad(image_bytes, label_bytes, error, code=3):
        write("x-images-idx3-ubyte", image_bytes)
        write("x-labels-idx1-ubyte", label_bytes)
        start = time.monotonic()
        refused(code, error, "classify", "train", "x-images-idx3-ubyte", "-o", "m.safetensors")
        expect(time.monotonic() - start < 5, "slow to refuse")

    bad(b"\0\0\8\2" + images[4:], labels, "no idx file of images")
    bad(images, b"\0\0\8\3" + labels[4:], "no idx file of labels")
    bad(images[:-1], labels, "cut short")
    bad(images + b"x", labels, "too long")
    bad(gzip.compress(images)[:-20], labels, "cut short gzip|damaged")
    bad(struct.pack(">4I", 0x803, 2 ** 31 - 1, 6, 6) + images[16:], labels, "header says")
    bad(struct.pack(">4I", 0x803, 0xffffffff, 0xffffffff, 0xffffffff) + images[16:], labels, "pixels|no images")
    bad(images, struct.pack(">2I", 0x801, 29) + labels[8:-1], "29 labels for the 30 images")
    bad(images, labels[:8] + bytes(30), "one class only|single class")
    write("x.idx", images)
    refused(2, "--labels", "classify", "train", "x.idx", "--format", "idx", "-o", "m.safetensors")


main(globals())
