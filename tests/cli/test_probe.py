"""`carousel probe` as a user runs it: tables, JSON, reports, going on, and every bad input with its exit code."""
import gzip
import json
import os
import pathlib
import signal
import struct
import subprocess
import time

from harness import CAROUSEL, Skip, expect, main, matches, ok, refused, run, write

SMALL = ("--hidden", "6", "--batch", "4", "--seeds", "2", "--threads", "2", "--check-every", "10")


def study(*arguments, **options):
    return json.loads(ok("probe", *arguments, "--json", **options).out)


def without_times(found):
    """A study's results but for what the clock says."""
    for arm in found["arms"]:
        for run_of in arm["runs"]:
            for key in ("seconds", "cpu_seconds"):
                del run_of["record"][key]
        del arm["seconds"], arm["cpu_seconds"]
    return found


def test_table_and_curves():
    result = ok("probe", "adding", "--cell", "rnn,lstm", "--distance", "10,12", *SMALL, "--updates", "20",
                env={"LC_ALL": "C.UTF-8"})
    matches(r"^cell +distance +units +weights +solved +right % +error +updates +time$", result.out, "table")
    matches(r"^rnn +10 +6 +61 +0/2 ", result.out, "table")
    matches(r"^lstm +12 +6 ", result.out, "table")
    matches("experiment 4", result.out, "paper")
    matches("sequences right .* against least length T", result.out, "curves")
    expect("\x1b" not in result.out + result.err, "colour without a terminal")
    matches("^lstm at 12, seed 2: not solved after 20 updates", result.err, "progress")


def test_json_names_what_it_measured():
    found = study("order2", "--cell", "gru", "--distance", "20", *SMALL, "--updates", "10", "--bias-init", "bz=2")
    expect(found["task"] == "order2" and found["settings"]["batch"] == 4, f"{found}")
    expect(found["settings"]["bias-init"] == "bz=2" and found["updates"] == 10, f"{found}")
    arm = found["arms"][0]
    expect(arm["cell"] == "gru" and arm["distance"] == 20 and arm["hidden"] == 6, f"{arm}")
    expect([entry["seed"] for entry in arm["runs"]] == [1, 2], f"{arm}")
    for entry in arm["runs"]:
        expect(entry["record"]["updates"] == 10 and 0 <= entry["record"]["accuracy"] <= 1, f"{entry}")


def test_own_cell_and_equal_weights():
    write("mine.cell", "cell mine(x) -> h\nstate h\nk = sigmoid(W@x + U@h + b)\nh' = k*h + (1 - k)*tanh(V@x)\n")
    found = study("reber", "--cell", "./mine.cell,lstm,indrnn", "--weights", "1500", "--seeds", "1", "--updates", "5")
    expect([arm["cell"] for arm in found["arms"]] == ["mine", "lstm", "indrnn"], f"{found['cells']}")
    for arm in found["arms"]:
        expect(abs(arm["weights"] - 1500) < 150, f"{arm['cell']}: {arm['weights']}")


def test_every_task_runs():
    for task, distance in (("agreement", 8), ("adding", 20), ("multiplication", 20), ("order2", 20), ("order3", 20),
                           ("order4", 20), ("noise-free", 8), ("local-noise", 8), ("noisy", 8), ("two-sequence", 20),
                           ("noisy-signal", 20), ("noisy-target", 20), ("reber", 12), ("continual-reber", 5),
                           ("copy", 8), ("memorisation", 4)):
        found = study(task, "--distance", distance, *SMALL, "--updates", "12")
        expect(found["arms"][0]["tested"] == 2, f"{task}: {found}")


def test_a_longer_run_goes_on_to_the_same_bits():
    common = ("adding", "--cell", "rnn,lstm", "--distance", "10", *SMALL)
    study(*common, "--updates", "13", "-o", "cut")
    expect(pathlib.Path("cut/study.json").exists() and pathlib.Path("cut/lstm-10-2.safetensors").exists(),
           f"{os.listdir('cut')}")
    cut = study(*common, "--updates", "40", "-o", "cut")
    whole = study(*common, "--updates", "40", "--threads", "1")
    expect(without_times(cut) == without_times(whole), f"{cut}\n{whole}")
    more = study("adding", "--cell", "rnn,lstm,gru", "--distance", "10,11", *SMALL, "--seeds", "3", "--updates", "40",
                 "-o", "cut")
    expect(without_times(more)["arms"][0]["runs"][:2] == cut["arms"][0]["runs"], "old runs are kept")
    matches("lstm 6", ok("info", "cut/lstm-10-1.safetensors").out, "a run is a model file")


def test_the_rate_halves():
    """By updates alone: a run that is cut goes on to the same bits. A study from before there was such a rate goes on."""
    common = ("adding", "--distance", "10", *SMALL)
    study(*common, "--updates", "13", "--halve-every", "4", "-o", "halved")
    cut = without_times(study(*common, "--updates", "30", "--halve-every", "4", "-o", "halved"))
    expect(cut == without_times(study(*common, "--updates", "30", "--halve-every", "4")), "cut")
    steady = without_times(study(*common, "--updates", "30", "-o", "steady"))
    expect(cut["arms"] != steady["arms"], "the rate does nothing")
    matches("at rate 0.005, half of it after every 4 updates, clip", ok("probe", *common, "--updates", "1", "--halve-every", "4").out,
            "what was run")
    refused(2, "made with another --halve-every", "probe", *common, "--updates", "30", "-o", "halved")
    old = pathlib.Path("steady/study.json")
    old.write_text(old.read_text(encoding="utf-8").replace('"halve-every": 0, ', ""), encoding="utf-8")
    expect("halve-every" not in old.read_text(encoding="utf-8"), "still there")
    expect(without_times(study(*common, "--updates", "30", "-o", "steady")) == steady, "an older study")


def test_killed_and_interrupted_runs_go_on():
    command = ["probe", "adding", "--distance", "40", *SMALL, "--seeds", "1", "--updates", "3000",
               "--checkpoint-seconds", "0.05"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        folder = f"study{number}"
        started = subprocess.Popen([CAROUSEL, *command, "-o", folder], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        checkpoint = pathlib.Path(folder, "lstm-40-1.safetensors")
        for _ in range(400):
            if checkpoint.exists():
                break
            time.sleep(0.02)
        started.send_signal(number)
        error = started.communicate(timeout=60)[1].decode()
        if started.returncode == 0:
            raise Skip("the machine was too fast to be interrupted")
        expect(started.returncode == code, f"{started.returncode}\n{error}")
        if number == signal.SIGINT:
            matches("the same command goes on", error, "stderr")
        found = study(*command[1:], "-o", folder)
        whole = study(*command[1:])
        expect(without_times(found) == without_times(whole), f"{folder}: {found}\n{whole}")


def test_report_is_one_page():
    ok("probe", "adding", "--cell", "rnn,lstm", "--distance", "10,100", *SMALL, "--updates", "5", "--report", "r.html")
    page = pathlib.Path("r.html").read_text()
    for word in ("<svg", "least length T", "experiment 4", "carousel probe adding", "rnn", "A line is the mean"):
        expect(word in page, f"{word} is not in the report")
    ok("probe", "adding", "--distance", "10", *SMALL, "--updates", "5", "--report", "one.html")
    one = pathlib.Path("one.html").read_text()
    expect("<svg" in one and "A bar is the mean" in one and "A line is the mean" not in one, "bars for one distance")


def test_minutes_are_shared_by_all_runs():
    found = study("adding", "--distance", "10", *SMALL, "--minutes", "0.01")
    expect(found["updates"] >= 1 and found["minutes"] == 0.01, f"{found}")


def idx(images):
    count, side = len(images), 4
    pixels = b"".join(bytes(row) for row in images)
    return struct.pack(">IIII", 0x803, count, side, side) + pixels


def made_up_images(count=200):
    """Bright and dark squares: not digits, but two classes."""
    classes = [i % 2 for i in range(count)]
    write("images", idx([[200 * c + k for k in range(16)] for c in classes]))
    write("labels", struct.pack(">II", 0x801, count) + bytes(classes))


def test_images():
    made_up_images()
    files = ("--images", "images", "--labels", "labels")
    plain = study("rows", *files, *SMALL, "--updates", "400")
    expect(plain["arms"][0]["solved"] == 2 and plain["arms"][0]["distance"] is None, f"{plain}")
    study("permuted", *files, "--test-images", "images", "--test-labels", "labels", *SMALL, "--updates", "5")
    write("images.gz", gzip.compress(pathlib.Path("images").read_bytes()))
    packed = run("probe", "rows", "--images", "images.gz", "--labels", "labels", *SMALL, "--updates", "400", "--json")
    if packed.code == 2 and "without zlib" in packed.err:
        raise Skip("built without zlib: packed images are not read")
    expect(without_times(json.loads(packed.out)) == without_times(plain), packed.err)


def test_images_of_a_csv_file():
    """The same images as numbers 0 to 200, their class behind them, are read to the same bits once they are as bright."""
    made_up_images()
    classes = [i % 2 for i in range(200)]
    grey = [[(200 * c + k) * 255 // 215 for k in range(16)] for c in classes]
    write("images", idx(grey))
    lines = "".join(",".join(map(str, [*row, c])) + "\n" for row, c in zip(grey, classes))
    write("digits.csv", lines)
    write("digits.csv.gz", gzip.compress(lines.replace("\n", "\r\n").encode()))
    plain = without_times(study("rows", "--images", "images", "--labels", "labels", *SMALL, "--updates", "30"))
    expect(without_times(study("rows", "--images", "digits.csv", *SMALL, "--updates", "30")) == plain, "CSV")
    packed = run("probe", "rows", "--images", "digits.csv.gz", *SMALL, "--updates", "30", "--json")
    expect("without zlib" in packed.err or without_times(json.loads(packed.out)) == plain, packed.err)
    study("permuted", "--images", "digits.csv", "--test-images", "images", "--test-labels", "labels", *SMALL, "--updates", "3")
    call = ("probe", "rows", *SMALL, "--updates", "3", "--images")
    refused(2, "the class stands behind the pixels", *call, "digits.csv", "--labels", "labels")
    refused(2, "--images and --labels go together", *call, "images")
    for name, text, word in (("header", "a,b\n" + lines, ":1: no image"), ("oblong", "1,2,3,0\n", ":1: no image"),
                             ("bright", lines + "256" + ",0" * 16 + "\n", ":201: not 17 whole numbers"),
                             ("short", lines + "1,2\n", ":201: not 17"), ("empty", "", ":1: no image"),
                             ("signed", lines.replace("0,", "-1,", 1), "no image"),
                             ("blank", lines + "\n", ":201: not 17"), ("one", "1,2,3,4,0\n" * 200, "one class only")):
        write(f"{name}.csv", text)
        refused(3, word, *call, f"{name}.csv")


def test_shifted_images():
    made_up_images()
    rows = ("rows", "--images", "images", "--labels", "labels", *SMALL, "--check-every", "1000")
    plain = study(*rows, "--updates", "30")
    moved = study(*rows, "--updates", "30", "--shift", "1")
    expect(moved["settings"]["shift"] == 1 and plain["settings"]["shift"] == 0, f"{moved['settings']}")
    losses = [found["arms"][0]["runs"][0]["record"]["loss"] for found in (plain, moved)]
    expect(losses[0] != losses[1], f"{losses}")
    study(*rows, "--updates", "13", "--shift", "1", "-o", "moved")
    cut = study(*rows, "--updates", "30", "--shift", "1", "-o", "moved", "--threads", "1")
    expect(without_times(cut) == without_times(moved), "cut")
    refused(2, "made with another --shift", "probe", *rows, "--updates", "30", "-o", "moved")
    matches("images moved by up to 1 pixel$", ok("probe", *rows, "--updates", "1", "--shift", "1").out, "table")
    study(*rows, "--updates", "13", "-o", "old")  # a folder from before there was --shift goes on without it
    old = pathlib.Path("old/study.json")
    old.write_text(old.read_text(encoding="utf-8").replace('"shift": 0, ', ""), encoding="utf-8")
    expect("shift" not in old.read_text(encoding="utf-8"), "still there")
    expect(without_times(study(*rows, "--updates", "30", "-o", "old")) == without_times(plain), "old")
    refused(2, "images of 4x4 take 0 to 3", "probe", *rows, "--shift", "4")
    refused(2, "--shift 1 moves images and adding reads none", "probe", "adding", "--shift", "1")
    refused(2, "--shift", "probe", *rows, "--shift", "-1")


def test_bad_images():
    made_up_images()
    whole = pathlib.Path("images").read_bytes()
    rows = ("probe", "rows", *SMALL, "--updates", "5")
    files = ("--labels", "labels")
    refused(2, "give --images", *rows)
    refused(5, "missing", *rows, "--images", "missing", *files)
    write("cut", whole[:-7])
    refused(3, "cut short", *rows, "--images", "cut", *files)
    write("cut.gz", gzip.compress(whole)[:-20])
    refused_packed = run(*rows, "--images", "cut.gz", *files)
    expect(refused_packed.code in (2, 3), refused_packed.err)
    write("head", whole[:9])
    refused(3, "no idx file of images", *rows, "--images", "head", *files)
    refused(3, "no idx file of images", *rows, "--images", "labels", *files)
    write("few", struct.pack(">II", 0x801, 199) + bytes(199))
    refused(3, "199 labels for the 200 images", *rows, "--images", "images", "--labels", "few")
    refused(2, "go together", *rows, "--images", "images", *files, "--test-images", "images")
    refused(2, "takes no --distance", *rows, "--images", "images", *files, "--distance", "5")
    refused(2, "reads no images", "probe", "adding", "--images", "images")


def test_real_digits():
    folder = pathlib.Path(os.environ.get("CAROUSEL_MNIST", "")) if os.environ.get("CAROUSEL_MNIST") else None
    if not folder or not folder.is_dir():
        raise Skip("CAROUSEL_MNIST names no folder with MNIST's files")
    found = study("rows", "--images", folder / "train10k-images-idx3-ubyte.gz",
                  "--labels", folder / "train10k-labels-idx1-ubyte.gz", "--seeds", "1", "--updates", "300")
    expect(found["arms"][0]["accuracy"] > 0.8, f"{found}")


def test_refusals():
    refused(2, "did you mean adding", "probe", "addin")
    refused(2, "no task zzzzzz", "probe", "zzzzzz")
    refused(2, ".", "probe")
    refused(2, "no such cell", "probe", "adding", "--cell", "lstm,nothing")
    refused(2, "a name is missing", "probe", "adding", "--cell", "lstm,,rnn")
    refused(2, "two cells of the name", "probe", "adding", "--cell", "lstm,lstm")
    write("bad.cell", "cell bad(x) -> h\nstate h\nh' = tanh(W@@x)\n")
    refused(3, "bad.cell", "probe", "adding", "--cell", "./bad.cell")
    refused(2, "takes 10 to 2000", "probe", "adding", "--distance", "9")
    refused(2, "takes 10 to 2000", "probe", "adding", "--distance", "100,2001")
    refused(2, "--distance", "probe", "adding", "--distance", "10,x")
    refused(2, "twice", "probe", "adding", "--distance", "10,10")
    refused(2, "none of the cells has a parameter", "probe", "adding", "--bias-init", "bq=1")
    refused(2, "take --hidden away", "probe", "adding", "--hidden", "5", "--weights", "100")
    refused(2, "--seeds", "probe", "adding", "--seeds", "0")
    refused(2, "--optimizer", "probe", "adding", "--optimizer", "magic")


def test_unwritable_output():
    write("file", "x")
    refused(5, "file", "probe", "adding", "--distance", "10", *SMALL, "--updates", "3", "-o", "file")
    refused(5, "no/such", "probe", "adding", "--distance", "10", *SMALL, "--updates", "3", "-o", "no/such/folder")
    refused(5, "no/such", "probe", "adding", "--distance", "10", *SMALL, "--updates", "3", "--report", "no/such/r.html")


def test_studies_do_not_mix():
    common = ("adding", "--distance", "10", *SMALL, "--updates", "5", "-o", "study")
    study(*common)
    refused(2, "made with another --rate", "probe", *common, "--rate", "0.5")
    refused(2, "a study of adding", "probe", "order2", *common[1:2], "20", *common[3:])
    checkpoint = pathlib.Path("study/lstm-10-1.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    refused(4, "lstm-10-1", "probe", "adding", "--distance", "10", *SMALL, "--updates", "9", "-o", "study")
    write("study/study.json", "{}")
    refused(3, "study.json", "probe", *common)


def test_help_lists_the_tasks():
    text = ok("probe", "--help").out
    for word in ("agreement", "continual-reber", "permuted", "--distance", "docs/probe.md"):
        expect(word in text, f"{word} is not in the help")


if __name__ == "__main__":
    main(globals())
