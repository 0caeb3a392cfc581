"""`carousel lm` as a user runs it: train, eval, sample, score, resume, and every bad input with its exit code."""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import time

from harness import CAROUSEL, Skip, expect, main, matches, ok, refused, run, write

TEXT = "the cat sat on the mat.\nthe dogs sat on the log.\na bird sang to the cats.\n" * 60
PACE = ("--batch", "4", "--unroll", "16", "--threads", "1")
SMALL = ("--hidden", "24", "--embed", "8", *PACE)


def train(text=TEXT, output="m.safetensors", updates=40, options=(), name="a.txt", size=SMALL):
    write(name, text)
    return ok("lm", "train", name, "-o", output, *size, "--updates", updates, *options)


def evaluate(model="m.safetensors", file="a.txt"):
    return json.loads(ok("lm", "eval", model, file, "--json").out)


def only(*names):
    """The folder holds these files and nothing else."""
    found = sorted(path.name for path in pathlib.Path(".").iterdir())
    expect(found == sorted(names), f"files: {found}, expected {sorted(names)}")


def test_train_eval_sample():
    train(updates=300)
    result = evaluate()
    expect(result["nats_per_token"] < 2.0, f"nothing was learned: {result}")
    for key in ("bits_per_char", "perplexity", "tokens_per_s"):
        expect(result[key] > 0, f"{key}: {result}")
    expect(abs(result["nats_per_token"] / 0.6931471805599453 - result["bits_per_char"]) < 1e-6, f"{result}")
    first = ok("lm", "sample", "m.safetensors", "--prompt", "the ", "--length", "60", "--seed", "5").out
    again = ok("lm", "sample", "m.safetensors", "--prompt", "the ", "--length", "60", "--seed", "5").out
    other = ok("lm", "sample", "m.safetensors", "--prompt", "the ", "--length", "60", "--seed", "6").out
    expect(first.startswith("the ") and len(first) == 4 + 60 + 1, f"{first!r}")
    expect(first == again, "the same seed gives another text")
    expect(first != other, "another seed gives the same text")


def test_eval_that_learns():
    """Judged before it is learned from: of what is never repeated nothing is known ahead, of what is, ever more."""
    train(updates=300)
    before = pathlib.Path("m.safetensors").read_bytes()
    write("new.txt", "the log sat on a bird. " * 100)
    fixed = evaluate(file="new.txt")
    learning = [json.loads(ok("lm", "eval", "m.safetensors", "new.txt", "--learn", "0.01", "--threads", n, "--json").out)
                for n in (1, 2)]
    expect(learning[0]["nats_per_token"] < 0.7 * fixed["nats_per_token"], f"{learning[0]}, without learning {fixed}")
    expect(learning[0]["nats_per_token"] == learning[1]["nats_per_token"], f"threads: {learning}")
    expect(learning[0]["tokens"] == fixed["tokens"], f"{learning[0]}")
    write("short.txt", "the log sat on a bird. "[:20])
    expect(abs(json.loads(ok("lm", "eval", "m.safetensors", "short.txt", "--learn", "1", "--json").out)["nats_per_token"] /
               evaluate(file="short.txt")["nats_per_token"] - 1) < 1e-5, "the first piece is judged after learning from it")
    expect(pathlib.Path("m.safetensors").read_bytes() == before, "the model file has changed")
    refused(2, "leave --lanes out", "lm", "eval", "m.safetensors", "new.txt", "--learn", "0.01", "--lanes", "2")
    refused(2, "int8", "lm", "eval", "m.safetensors", "new.txt", "--learn", "0.01", "--precision", "int8")


def test_train_json_and_info():
    result = json.loads(train(options=["--json"]).out)
    expect(result["updates"] == 40 and result["model"] == "m.safetensors", f"{result}")
    info = json.loads(ok("info", "m.safetensors", "--json").out)
    expect(info["parameters"] == result["parameters"], "info and train count differently")
    matches("lstm 24", info["net"], "net")
    expect(any(entry["name"] == "lstm" for entry in info["cells"]), f"{info['cells']}")
    expect("lm.vocabulary" in info["metadata"], f"{list(info['metadata'])}")
    matches(r"^net +embed 8 \| lstm 24", ok("info", "m.safetensors").out, "info")


def test_stderr_without_a_terminal_has_plain_lines():
    result = train(updates=200)
    expect("\x1b" not in result.err and "\r" not in result.err, f"{result.err!r}")
    expect("\x1b" not in result.out, f"{result.out!r}")


def test_every_level():
    for level in ("byte", "char", "word"):
        train(output=f"{level}.safetensors", options=["--level", level])
        expect(evaluate(f"{level}.safetensors")["nats_per_token"] > 0, level)
        ok("lm", "sample", f"{level}.safetensors", "--length", "10")
    write("b.bin", bytes(random.Random(1).randbytes(4000)))
    ok("lm", "train", "b.bin", "-o", "b.safetensors", "--level", "byte", *SMALL, "--updates", "5")
    chinese = "人之初，性本善。性相近，习相远。\n" * 200
    train(chinese, "zh.safetensors", 30, name="zh.txt")
    sample = ok("lm", "sample", "zh.safetensors", "--prompt", "人", "--length", "20").out
    expect(sample.startswith("人") and len(sample) == 22 and "\ufffd" not in sample, f"{sample!r}")


def test_every_cell_trains():
    for entry in json.loads(ok("cell", "list", "--json").out):
        name = entry["name"]
        net = f"embed 24 | {name} 24 | softmax"
        train(updates=5, options=["--net", net], size=PACE)
        expect(evaluate()["nats_per_token"] < 20, name)


def test_bf16():
    train(updates=300, options=["--precision", "bf16"])
    half = evaluate()["nats_per_token"]
    expect(half < 2.0, f"nothing was learned: {half}")
    expect(json.loads(ok("info", "m.safetensors", "--json").out)["precision"] == "bf16", "info")
    matches(r"(?m)^precision +bf16$", ok("info", "m.safetensors").out, "info")
    full = json.loads(ok("lm", "eval", "m.safetensors", "a.txt", "--json", "--precision", "f32").out)["nats_per_token"]
    expect(full != half and abs(full - half) < 0.02, f"f32 {full}, bf16 {half}")
    train(updates=150, output="b.safetensors", options=["--precision", "bf16", "--schedule", "constant"])
    train(updates=300, output="c.safetensors", options=["--precision", "bf16", "--schedule", "constant"])
    ok("lm", "train", "--resume", "b.safetensors.last", "--updates", "300")
    expect(evaluate("b.safetensors")["nats_per_token"] == evaluate("c.safetensors")["nats_per_token"],
           "resumed differs from uninterrupted")
    ok("lm", "train", "a.txt", "--load", "m.safetensors", "-o", "d.safetensors", *PACE, "--updates", "5")
    expect(json.loads(ok("info", "d.safetensors", "--json").out)["precision"] == "f32", "--load takes --precision")
    refused(2, "--precision", "lm", "train", "a.txt", "-o", "e.safetensors", "--precision", "f16")
    refused(2, "--rate 0", "lm", "train", "a.txt", "-o", "e.safetensors", "--rate", "0")


def test_int8():
    train(updates=300)
    result = json.loads(ok("quantize", "m.safetensors", "-o", "s.safetensors", "--json").out)
    expect(result["precision"] == "f32" and result["output_precision"] == "int8", f"{result}")
    sizes = [pathlib.Path(name).stat().st_size for name in ("m.safetensors", "s.safetensors")]
    expect([result["bytes"], result["output_bytes"]] == sizes and sizes[1] < sizes[0], f"{result}")
    info = json.loads(ok("info", "s.safetensors", "--json").out)
    expect(info["precision"] == "int8" and info["parameters"] == result["parameters"], f"{info}")
    matches(r"^precision +int8$", ok("info", "s.safetensors").out, "info")
    whole, small = evaluate()["nats_per_token"], evaluate("s.safetensors")["nats_per_token"]
    expect(small != whole and abs(small - whole) < 0.02, f"{whole} became {small}")
    converted = json.loads(ok("lm", "eval", "m.safetensors", "a.txt", "--precision", "int8", "--json").out)
    expect(converted["nats_per_token"] == small, f"{converted} is not {small}")
    threads = [ok("lm", "eval", "s.safetensors", "a.txt", "--threads", n, "--json").out for n in (1, 2)]
    expect(json.loads(threads[0])["nats_per_token"] == json.loads(threads[1])["nats_per_token"], f"{threads}")
    text = ok("lm", "sample", "s.safetensors", "--prompt", "the ", "--length", "60", "--seed", "5").out
    expect(text.startswith("the ") and len(text) == 65, f"{text!r}")
    ok("lm", "score", "s.safetensors", "-", stdin="the cat\n", out=r"\d")
    ok("quantize", "s.safetensors", "-o", "again.safetensors")
    expect(evaluate("again.safetensors")["nats_per_token"] == small, "the second time it is another model")
    ok("lm", "train", "a.txt", "-o", "tuned.safetensors", "--load", "s.safetensors", *PACE, "--updates", "5")
    expect(json.loads(ok("info", "tuned.safetensors", "--json").out)["precision"] == "f32", "tuned")
    refused(2, "f32|bf16", "lm", "train", "a.txt", "-o", "x.safetensors", *SMALL, "--precision", "int8")
    refused(2, "give -o FILE", "quantize", "m.safetensors")
    refused(5, "No such file", "quantize", "none.safetensors", "-o", "x.safetensors")
    refused(4, "not a model|damaged", "quantize", write("text.txt", TEXT), "-o", "x.safetensors")
    refused(5, "nowhere", "quantize", "m.safetensors", "-o", "nowhere/x.safetensors")


def peak(*arguments):
    """The most memory that a command held at a time, in bytes."""
    untouched = {**os.environ, "MALLOC_PERTURB_": "0"}  # else malloc touches every page
    command = subprocess.Popen([CAROUSEL, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=untouched)
    _, status, usage = os.wait4(command.pid, 0)
    expect(status == 0, f"{arguments}: status {status}")
    return usage.ru_maxrss * 1024


def test_memory_is_what_was_told():
    if b"asan" in pathlib.Path(CAROUSEL).read_bytes():
        raise Skip("a sanitizer has memory of its own")
    write("a.txt", TEXT)
    shape = ("--batch", "20", "--unroll", "35")
    command = ("lm", "train", "a.txt", "-o", "m.safetensors", "--hidden", "400", "--layers", "2", *shape,
               "--threads", "1", "--updates", "3")
    taken = peak(*command) - peak("info")  # less the program itself and its libraries
    told = json.loads(ok("info", "m.safetensors", *shape, "--json").out)["bytes"]
    expect(told["batch"] == 20 and told["unroll"] == 35 and 0 < told["model"] < told["trainer"], f"{told}")
    expect(told["trainer"] / 2 < taken < told["trainer"] + 10e6, f"{taken} bytes taken, {told} told")
    matches(r"^memory +model \d+\.\d+ MB, session .* MB, trainer .* MB \(adam, batch 20, unroll 35",
            ok("info", "m.safetensors", *shape).out, "info")
    matches(r"^memory: model .*batch 7, unroll 9", ok("cell", "explain", "gru", "--batch", 7, "--unroll", 9).out, "explain")


def test_own_cell():
    write("mine.cell", "cell mine(x) -> h\nstate h\nk = sigmoid(W@x + U@h + b)\nh' = k*h + (1 - k)*tanh(V@x)\n")
    train(options=["--cell", "mine.cell"])
    os.remove("mine.cell")
    evaluate()
    ok("lm", "sample", "m.safetensors", "--length", "5")


def test_score_ranks_lines():
    train(updates=400)
    lines = "the cat sat on the mat.\nteh tac tas no eht tam.\n"
    result = [json.loads(line) for line in ok("lm", "score", "m.safetensors", "--json", stdin=lines).out.splitlines()]
    expect(len(result) == 2 and result[0]["nats"] < result[1]["nats"], f"{result}")


AGREEMENT = "the cat was here\nthe cats were here\nthe dog was there\nthe dogs were there\n" * 60
PAIRS = ("the cat was\tthe cat were\tsingular\nthe dogs were\tthe dogs was\tplural\n"
         "the cat was\tthe cat purrs\tsingular\nthe bird was\tthe bird were\tsingular\n"
         "the cat sings\tthe cat sing\tplural\n")


def test_score_judges_pairs():
    """`purrs`, `sings` and `sing` are unknown: those pairs are not covered; an unknown `bird` in both is no obstacle."""
    train(AGREEMENT, updates=300, options=("--level", "word"))
    table = json.loads(ok("lm", "score", "m.safetensors", "--no-end", "--json", "--pairs", "-", stdin=PAIRS).out)
    by_name = {group["group"]: group for group in table["groups"]}
    expect(list(by_name) == ["singular", "plural"], f"{by_name}")
    expect([by_name["singular"][k] for k in ("pairs", "covered")] == [3, 2], f"{by_name}")
    expect([by_name["plural"][k] for k in ("pairs", "covered", "right")] == [2, 1, 1], f"{by_name}")
    expect([table["all"][k] for k in ("pairs", "covered")] == [5, 3], f"{table}")
    lines = ok("lm", "score", "m.safetensors", "--no-end", "--json", stdin="the cat was\nthe cat were\n").out.splitlines()
    was, were = (json.loads(line)["nats"] for line in lines)
    expect(was < were, f"{was} {were}")
    turned = "".join("\t".join((b, a, c)) + "\n" for a, b, c in (line.split("\t") for line in PAIRS.splitlines()))
    against = json.loads(ok("lm", "score", "m.safetensors", "--no-end", "--json", "--pairs", "-", stdin=turned).out)
    expect(against["all"]["right"] == 3 - table["all"]["right"], f"{against} {table}")
    # Wilson's interval for 3 of 3 at 95 %: 3 / (3 + 1.96^2)
    if table["all"]["right"] == 3:
        expect(abs(table["all"]["low"] - 3 / (3 + 1.959964 ** 2)) < 1e-6 and table["all"]["high"] > 0.999999, f"{table}")
    matches("singular +3 +2 ", ok("lm", "score", "m.safetensors", "--no-end", "--pairs", "-", stdin=PAIRS).out, "table")


def test_bad_pairs():
    train(updates=5)
    refused(3, "line 2 has no tab", "lm", "score", "m.safetensors", "--pairs", "-", stdin="the cat\tthe dog\nthe\n")
    refused(3, "line 1 holds the same text twice", "lm", "score", "m.safetensors", "--pairs", "-", stdin="the\tthe\n")
    refused(3, "at most 63 bytes", "lm", "score", "m.safetensors", "--pairs", "-", stdin="a\tb\t" + "c" * 64 + "\n")
    many = "".join(f"cat\tdog\tgroup {k}\n" for k in range(257))
    refused(3, "at most 256 groups", "lm", "score", "m.safetensors", "--pairs", "-", stdin=many)
    refused(5, "none.tsv", "lm", "score", "m.safetensors", "--pairs", "none.tsv")
    refused(2, "takes the place", "lm", "score", "m.safetensors", "--pairs", "-", "a.txt")


def test_print_config():
    write("a.txt", TEXT)
    config = json.loads(ok("lm", "train", "a.txt", "-o", "m", "--hidden", "77", "--print-config").out)
    expect(config["hidden"] == 77 and config["operands"] == ["a.txt"], f"{config}")
    only("a.txt")


def test_the_same_seed_gives_the_same_file():
    train(output="one.safetensors", options=["--seed", "3"])
    train(output="two.safetensors", options=["--seed", "3", "--threads", "2"])
    train(output="three.safetensors", options=["--seed", "4"])
    figures = [evaluate(f"{name}.safetensors")["nats_per_token"] for name in ("one", "two", "three")]
    expect(figures[0] == figures[1] != figures[2], f"{figures}")


def test_net_without_a_place_in_a_language_model():
    write("a.txt", TEXT)
    for net in ("embed 8 | lstm 8 bi | softmax", "embed 8 | lstm 8 | softmax last", "lstm 8 | linear"):
        refused(2, ".", "lm", "train", "a.txt", "-o", "m", "--net", net, *PACE)
    refused(2, "lsmt", "lm", "train", "a.txt", "-o", "m", "--net", "embed 8 | lsmt 8 | softmax", *PACE)
    refused(2, "hidden", "lm", "train", "a.txt", "-o", "m", "--net", "embed 8 | lstm 8 | softmax", *SMALL)
    refused(2, "(?i)cell", "lm", "train", "a.txt", "-o", "m", "--cell", "lsmt", *SMALL)
    only("a.txt")


# ---- Bad input: a clear line, the right code, nothing left behind -------------------------------------------


def test_empty_and_tiny_texts():
    for text in ("", "x", "ab\n", TEXT[:50]):
        write("a.txt", text)
        for level in ("byte", "char", "word"):
            refused(3, ".", "lm", "train", "a.txt", "-o", "m", "--level", level, *SMALL)
    only("a.txt")


def test_binary_and_invalid_text_at_char_level():
    for text in (b"\x7fELF\x02\x01\x01\0\0\0\0" * 500, b"abc \xff def\n" * 500, b"abc \xc3\n" * 500, b"a\0b" * 1000,
                 b"\xed\xa0\x80" * 1000):
        write("a.txt", text)
        for level in ("char", "word"):
            refused(3, r"a\.txt.*(line \d+|byte \d+)", "lm", "train", "a.txt", "-o", "m", "--level", level, *SMALL)
        ok("lm", "train", "a.txt", "-o", "m", "--level", "byte", *SMALL, "--updates", "2")
        os.remove("m")
        for left in pathlib.Path(".").glob("m.*"):
            left.unlink()
    only("a.txt")


def test_vocabulary_of_one():
    write("a.txt", "a" * 5000)
    refused(3, "(?i)vocabular|symbol|differ", "lm", "train", "a.txt", "-o", "m", *SMALL)
    only("a.txt")


def test_missing_and_unreadable_texts():
    refused(5, "nowhere.txt.*No such file", "lm", "train", "nowhere.txt", "-o", "m", *SMALL)
    refused(5, "(?i)directory", "lm", "train", ".", "-o", "m", *SMALL)
    write("a.txt", TEXT)
    refused(5, "nowhere.txt", "lm", "train", "a.txt", "-o", "m", "--valid", "nowhere.txt", *SMALL)
    only("a.txt")
    if os.geteuid() == 0:
        return  # root reads everything
    os.chmod("a.txt", 0)
    refused(5, "(?i)permission", "lm", "train", "a.txt", "-o", "m", *SMALL)


def test_output_that_cannot_be_written():
    write("a.txt", TEXT)
    refused(5, "no/such/folder", "lm", "train", "a.txt", "-o", "no/such/folder/m", *SMALL, "--updates", "3")
    os.mkdir("folder")
    refused(5, "folder", "lm", "train", "a.txt", "-o", "folder", *SMALL, "--updates", "3")
    only("a.txt", "folder")


def limit_file_size():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_full_disk_keeps_the_old_model():
    train()
    before = {path.name: path.read_bytes() for path in pathlib.Path(".").iterdir()}
    refused(5, ".", "lm", "train", "a.txt", "-o", "m.safetensors", *SMALL, "--updates", "3", preexec_fn=limit_file_size)
    after = {path.name: path.read_bytes() for path in pathlib.Path(".").iterdir()}
    expect(before == after, f"files changed: {sorted(before)} -> {sorted(after)}")


def test_damaged_models():
    train(updates=5)
    good = pathlib.Path("m.safetensors").read_bytes()
    numbers = random.Random(7)
    cases = [good[:length] for length in (0, 1, 7, 8, 9, 100, len(good) // 2, len(good) - 1)] + [good + b"x"]
    for _ in range(30):
        bit = numbers.randrange(len(good) * 8)
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        cases.append(bytes(flipped))
    for case in cases:
        write("bad.safetensors", case)
        for verb in (("info", "bad.safetensors"), ("lm", "eval", "bad.safetensors", "a.txt"),
                     ("lm", "sample", "bad.safetensors")):
            result = refused(4, r"bad\.safetensors", *verb)
            expect(not result.out, f"{verb}: output beside the error")
        refused(4, r"bad\.safetensors", "lm", "train", "--resume", "bad.safetensors")


def test_info_of_a_model_with_escape_sequences():
    train(updates=5)
    data = pathlib.Path("m.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    kept = {key: value for key, value in header["__metadata__"].items() if "sha256" not in key}
    header["__metadata__"] = {**kept, "note": "\x1b[31mred\x07", "json": '{"a\\u009b": "\\u001b]0;title\\u0007"}'}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    write("bad.safetensors", len(text).to_bytes(8, "little") + text + data[8 + length:])
    out = ok("info", "bad.safetensors", out="^note: \\?\\[31mred\\?$").out
    expect(not set(out) & set("\x1b\x07\x9b"), f"control characters reach the terminal: {out!r}")


def test_wrong_models():
    train(updates=5)
    refused(4, r"a\.txt", "lm", "eval", "a.txt", "a.txt")
    refused(4, "m.safetensors", "lm", "train", "--resume", "m.safetensors")
    refused(5, "No such file", "lm", "sample", "gone.safetensors")
    refused(5, "No such file", "lm", "train", "--resume", "gone.last")


def test_bad_cells_and_options_in_training():
    write("a.txt", TEXT)
    write("bad.cell", "cell a(x) -> h\nstate h\nh' = tanh(W + h)\n")
    refused(3, r"bad\.cell:3:\d+", "lm", "train", "a.txt", "-o", "m", "--cell", "bad.cell", *SMALL)
    refused(2, "-o", "lm", "train", "a.txt", *SMALL)
    refused(2, "--bias-init|bq", "lm", "train", "a.txt", "-o", "m", "--bias-init", "bq=1", *SMALL)
    refused(2, "temperature", "lm", "sample", "m", "--temperature", "-1")
    refused(2, "top-p", "lm", "sample", "m", "--top-p", "1.5")
    only("a.txt", "bad.cell")


def test_prompt_that_the_model_cannot_read():
    train(updates=5)
    result = run("lm", "sample", "m.safetensors", "--prompt", "Ünï Ω", "--length", "5")
    expect(result.code in (0, 3), f"exit {result.code}: {result.err}")
    refused(3, "(?i)utf-8", "lm", "sample", "m.safetensors", "--prompt", b"\xff\xfe".decode("utf-8", "surrogateescape"))


def test_divergence_is_exit_7_and_keeps_the_good_model():
    train()
    before = pathlib.Path("m.safetensors").read_bytes()
    write("wild.cell", "cell wild(x) -> h\nstate h\nk = exp(U@h + b)\nh' = h*k + W@x\n")
    refused(7, "layer.*'k'.*time step", "lm", "train", "a.txt", "-o", "m.safetensors", *SMALL, "--cell", "wild.cell",
            "--updates", "200", "--rate", "1e6", "--clip", "0", "--optimizer", "sgd")
    expect(pathlib.Path("m.safetensors").read_bytes() == before, "a diverged run replaced the model")


# ---- Interrupted and resumed ---------------------------------------------------------------------------------


def start_training(output, updates, *options):
    return subprocess.Popen([CAROUSEL, "lm", "train", "a.txt", "-o", output, *SMALL, "--updates", str(updates),
                             "--checkpoint-seconds", "0.2", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_idle_threads_spin_briefly_unless_told_otherwise():
    write("a.txt", TEXT)
    for environment, expected in ({}, b"GOMP_SPINCOUNT=10000"), ({"OMP_WAIT_POLICY": "passive"}, None):
        environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | environment
        process = subprocess.Popen([CAROUSEL, "lm", "train", "a.txt", "-o", "m.safetensors", *SMALL, "--updates", "1000000"],
                                   env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        process.stderr.read(1)  # it has started for good
        found = [line for line in pathlib.Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
                 if line.startswith(b"GOMP_SPINCOUNT=")]
        process.kill()
        process.communicate()
        expect(found == ([expected] if expected else []), f"{environment}: {found}")


def wait_for(path, process, seconds=60):
    end = time.monotonic() + seconds
    while not pathlib.Path(path).exists():
        if process.poll() is not None:
            raise AssertionError(f"the run ended before {path} was there: {process.communicate()}")
        expect(time.monotonic() < end, f"{path} did not appear")
        time.sleep(0.02)


def test_interrupted_and_resumed_is_uninterrupted():
    write("a.txt", TEXT)
    start = time.monotonic()
    ok("lm", "train", "a.txt", "-o", "timing", *SMALL, "--updates", 1000)
    updates = int(1000 * max(1, 0.8 / (time.monotonic() - start)))  # about a second, so that signals come in time
    ok("lm", "train", "a.txt", "-o", "whole.safetensors", *SMALL, "--updates", updates)
    whole = evaluate("whole.safetensors")["nats_per_token"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        output = f"s{int(number)}.safetensors"
        process = start_training(output, updates)
        wait_for(output + ".last", process)
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1].decode()
        if process.returncode == 0:
            raise Skip(f"the run of {updates} updates was over before signal {number} came")
        expect(process.returncode == code, f"signal {number}: exit {process.returncode}\n{errors}")
        if code > 0:
            matches("--resume", errors, "stderr")
        ok("lm", "train", "--resume", output + ".last")
        expect(evaluate(output)["nats_per_token"] == whole, f"signal {number}: resumed differs from uninterrupted")


def test_resume_refuses_a_changed_text():
    write("a.txt", TEXT)
    process = start_training("m.safetensors", 100000)
    wait_for("m.safetensors.last", process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    write("a.txt", TEXT.replace("cat", "cow"))
    refused(3, "changed", "lm", "train", "--resume", "m.safetensors.last")
    os.remove("a.txt")
    refused(5, "No such file", "lm", "train", "--resume", "m.safetensors.last")


def test_sample_into_a_pipe_that_closes():
    train(updates=5)
    script = f'"{CAROUSEL}" lm sample m.safetensors --length 1000000000 | head -c 100 | wc -c; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    expect(done.stdout.split() == ["100", "0"] and not done.stderr, f"{done}")


def test_copy_of_the_model_is_all_that_is_needed():
    train(updates=5)
    os.mkdir("elsewhere")
    shutil.copy("m.safetensors", "elsewhere/x.bin")
    for path in pathlib.Path(".").glob("*.safetensors*"):
        path.unlink()
    ok("lm", "sample", "elsewhere/x.bin", "--length", "5")


if __name__ == "__main__":
    main(globals())
