"""`carousel cell draw` and `inspect`: well-formed pictures, those in docs/ up to date, pages, and what goes wrong."""
import json
import math
import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree as tree

from harness import CAROUSEL, ROOT, Skip, expect, main, matches, ok, refused, run, write

MARK = "{http://www.w3.org/2000/svg}"
OWN = """# my <cell> & "more"
cell mine(x) -> h
state h
z = sigmoid(Wz@x + Uz@h + bz)
h' = z*h + (1 - z)*tanh(Wh@x + bh)
"""


def zoo():
    return [entry["name"] for entry in json.loads(ok("cell", "list", "--json").out)]


def words(svg):
    """The texts of a picture; fails where it is no well-formed SVG."""
    root = tree.fromstring(svg)
    expect(root.tag == MARK + "svg", f"no svg: {root.tag}")
    expect(not root.findall(f".//{MARK}script"), "a script in a picture")
    return [element.text or "" for element in root.iter(MARK + "text")]


def test_every_cell_is_drawn():
    for name in zoo():
        texts = words(ok("cell", "draw", name, "-o", "-").out)
        expect(texts[0] == f"{name}: one step", f"title of {name}: {texts[0]}")
        expect(any(text.startswith("What to see: ") for text in texts), f"{name}: says nothing")
        text = ok("cell", "show", name).out
        named = re.findall(r"^(\w+) = ", text, re.MULTILINE)
        states = [state for line in re.findall(r"^state (.*)", text, re.MULTILINE) for state in line.split(", ")]
        parameters = re.findall(r"\b([A-Z]\w*)@", text)
        for word in named + states + [state + "'" for state in states]:
            expect(word in texts, f"{name}: {word} stands nowhere")
        boxes = " ".join(texts).split()
        for word in parameters:
            expect(word in boxes, f"{name}: the weights {word} stand nowhere")


def test_pictures_in_the_documents_are_up_to_date():
    folder = ROOT / "docs" / "img" / "cells"
    cells = (ROOT / "docs" / "cells.md").read_text(encoding="utf-8")
    expect(sorted(path.stem for path in folder.iterdir()) == sorted(zoo()), "run tools/draw_cells.py")
    for name in zoo():
        picture = (folder / f"{name}.svg").read_text(encoding="utf-8")
        expect(picture == ok("cell", "draw", name, "-o", "-").out, f"{name}.svg is old: run tools/draw_cells.py")
        expect(f"(img/cells/{name}.svg)" in cells, f"docs/cells.md does not show {name}")


def test_own_cell_and_pipe():
    write("mine.cell", OWN)
    ok("cell", "draw", "mine.cell", "-o", "mine.svg", out=r"\A\Z")
    texts = words(pathlib.Path("mine.svg").read_text(encoding="utf-8"))
    expect('my <cell> & "more"' in texts, f"{texts}")
    expect(ok("cell", "draw", "-", "-o", "-", stdin=OWN).out == pathlib.Path("mine.svg").read_text(encoding="utf-8"),
           "a file and a pipe differ")


def test_in_chinese():
    texts = words(ok("cell", "draw", "lstm", "--lang", "zh", "-o", "-").out)
    expect(texts[0] == "lstm：一步" and any(text.startswith("看点：") for text in texts), f"{texts}")
    expect(not [text for text in texts if re.search(r"[a-z]{3,} [a-z]{2,}", text)], f"English words: {texts}")


def test_unrolled():
    texts = words(ok("cell", "draw", "gru", "--unroll", "3", "-o", "-").out)
    expect(texts[0] == "gru, unrolled over 3 steps", texts[0])
    for word in ("x(t−1)", "x(t)", "x(t+1)", "h(t+1)"):
        expect(word in texts, f"{word} is missing")


def test_png_and_pdf():
    kinds = {"a.png": b"\x89PNG\r\n\x1a\n", "a.pdf": b"%PDF-"}
    for name, start in kinds.items():
        result = run("cell", "draw", "lstm", "-o", name, "--theme", "dark")
        if result.code == 2 and "cairo" in result.err:
            expect(not os.path.exists(name), "a file in spite of the error")
            raise Skip("a build without cairo")
        expect(result.code == 0, result.err)
        expect(pathlib.Path(name).read_bytes().startswith(start), f"{name} is none")
    ok("cell", "draw", "lstm", "-o", "big.png", "--scale", "4")
    expect(os.path.getsize("big.png") > os.path.getsize("a.png"), "--scale does nothing")
    refused(3, "pixels", "cell", "draw", "slstm", "--unroll", "8", "--scale", "16", "-o", "huge.png")
    expect(not os.path.exists("huge.png"), "a file in spite of the error")


def test_refused():
    refused(2, "-o FILE.svg", "cell", "draw", "lstm")
    refused(2, r"a\.gif: a picture ends in \.svg, \.png or \.pdf", "cell", "draw", "lstm", "-o", "a.gif")
    refused(2, "ends in", "cell", "draw", "lstm", "-o", "")
    refused(2, "name a cell, or a model", "cell", "draw", "-o", "a.svg")
    refused(2, "name a cell, or a model", "cell", "draw", "lstm", "--model", "m", "-o", "a.svg")
    refused(2, "--model needs --text", "cell", "draw", "--model", "m", "-o", "a.svg")
    refused(2, "need --model", "cell", "draw", "lstm", "--text", "a", "-o", "a.svg")
    refused(2, "whole number from 1 to 8", "cell", "draw", "lstm", "--unroll", "9", "-o", "a.svg")
    refused(2, "one of light, dark|light", "cell", "draw", "lstm", "--theme", "blue", "-o", "a.svg")
    refused(2, "did you mean lstm", "cell", "draw", "lsmt", "-o", "a.svg")
    refused(5, "nowhere.safetensors", "cell", "draw", "--model", "nowhere.safetensors", "--text", "a", "-o", "a.svg")
    write("bad.cell", "cell a(x) -> h\nstate h\nh' = tanh(W@x\n")
    refused(3, r"bad\.cell:\d+:\d+: ", "cell", "draw", "bad.cell", "-o", "a.svg")
    big = "cell big(x) -> h\nstate h\n" + "".join(f"g{i} = sigmoid(W{i}@x + U{i}@h)\n" for i in range(70))
    write("big.cell", big + "h' = " + "*".join(f"g{i}" for i in range(70)) + "\n")
    refused(3, r"big\.cell: too large for a picture", "cell", "draw", "big.cell", "-o", "a.svg")
    expect(not os.path.exists("a.svg"), "a file in spite of the errors")


def test_output_that_cannot_be_written():
    refused(5, "nowhere", "cell", "draw", "lstm", "-o", "nowhere/a.svg")
    os.mkdir("folder.svg")
    refused(5, "folder.svg", "cell", "draw", "lstm", "-o", "folder.svg")
    expect(os.listdir(".") == ["folder.svg"] and not os.listdir("folder.svg"), f"left behind: {os.listdir('.')}")
    with open("/dev/full", "wb") as full:
        expect(run_to(full) == 5, "a full disk is exit 5")


def run_to(stream):
    return subprocess.run([CAROUSEL, "cell", "draw", "lstm", "-o", "-"], stdout=stream, stderr=subprocess.DEVNULL,
                          check=False).returncode


def test_numbers_of_a_model():
    write("book.txt", "The cat sat on the mat. The dog saw the cat and ran.\n" * 200)
    ok("lm", "train", "book.txt", "-o", "m.safetensors", "--hidden", "24", "--layers", "2", "--updates", "3")
    first = words(ok("cell", "draw", "--model", "m.safetensors", "--text", "The cat", "-o", "-").out)
    text = " ".join(first)
    matches(r'layer 2 of m\.safetensors \(24 units\) when it reads "t", token 7 of 7', text, "note")
    expect(sum(bool(re.fullmatch(r"-?\d\.\d\d", word)) for word in first) == 4, f"four layers have a number: {first}")
    expect(sum(bool(re.fullmatch(r"\|\d\.\d\d\|", word)) for word in first) == 2, f"two states have a size: {first}")
    early = words(ok("cell", "draw", "--model", "m.safetensors", "--text", "The cat", "--step", "2", "-o", "-").out)
    same = words(ok("cell", "draw", "--model", "m.safetensors", "--text", "Th", "-o", "-").out)
    figures = [[word for word in found if re.fullmatch(r"[-|]?\d\.\d\d\|?", word)] for found in (early, same, first)]
    expect(figures[0] == figures[1], "step 2 of a text is not the end of its first two letters")
    expect(figures[0] != figures[2], "another step gives the same numbers")
    chain = words(ok("cell", "draw", "--model", "m.safetensors", "--text", "The cat", "--unroll", "3", "-o", "-").out)
    numbers = [word for word in chain if re.fullmatch(r"[-|]?\d\.\d\d\|?", word)]
    expect(len(numbers) == 18, f"six numbers a step: {numbers}")
    expect(numbers[12:] == figures[2], f"the last of three steps is not the only one of one: {numbers} {figures[2]}")
    expect({'"c"', '"a"', '"t"', "x(t\u22121)", "x(t+1)"} <= set(chain), f"what each step reads: {chain}")
    refused(2, "--unroll 3: the text gives 2 steps", "cell", "draw", "--model", "m.safetensors", "--text", "a", "--unroll", "3",
            "-o", "a.svg")
    upper = words(ok("cell", "draw", "--model", "m.safetensors", "--text", "The cat", "--layer", "3", "-o", "-").out)
    expect("layer 3 of" in " ".join(upper), f"{upper}")
    refused(2, "layer 1 of .* is no cell", "cell", "draw", "--model", "m.safetensors", "--text", "a", "--layer", "1", "-o", "a.svg")
    refused(2, "has 1 tokens", "cell", "draw", "--model", "m.safetensors", "--text", "a", "--step", "2", "-o", "a.svg")
    refused(2, "has 0 tokens", "cell", "draw", "--model", "m.safetensors", "--text", "", "-o", "a.svg")
    refused(4, "book.txt", "cell", "draw", "--model", "book.txt", "--text", "a", "-o", "a.svg")


def test_inspect():
    write("book.txt", "The cat sat on the mat. The dog saw the cat and ran.\n" * 200)
    ok("lm", "train", "book.txt", "-o", "m.safetensors", "--hidden", "24", "--layers", "2", "--updates", "3")
    result = ok("inspect", "m.safetensors", "book.txt", "--tokens", "300", "--report", "r.html",
                out=r"^layer 2: lstm, 24 units, 300 tokens$")
    for gate in "ifo":
        matches(rf"^  {gate} +0\.\d{{3}} +\d+\.\d % +\d+\.\d %  0 ", result.out, "a gate")
    matches(r"^  c is half gone after \d", result.out, "the memory")
    page = pathlib.Path("r.html").read_text(encoding="utf-8")
    expect(len(page) < 2 << 20 and "<script" not in page and "://" not in page.replace("http://www.w3.org", ""),
           "the page is too large, or not alone")
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    expect(len(pictures) == 2 * (1 + 1 + 3 * 2) + 2, f"{len(pictures)} pictures")
    for picture in pictures:
        tree.fromstring(picture)
    ok("inspect", "m.safetensors", "book.txt", "--report", "zh.html", "--lang", "zh")
    expect('lang="zh-CN"' in pathlib.Path("zh.html").read_text(encoding="utf-8"), "not in Chinese")
    found = json.loads(ok("inspect", "m.safetensors", "book.txt", "--tokens", "300", "--json").out)
    expect(found["tokens"] == 300 and [layer["layer"] for layer in found["layers"]] == [2, 3], f"{found['tokens']}")
    expect([curve["of"] for curve in found["gradients"]] == ["input", "h", "c", "h", "c"], "gradients of all states")
    expect(all(len(curve["median"]) == 50 and min(curve["median"]) >= 0 for curve in found["gradients"]), "50 steps")
    expect(found["clipping"]["updates"] > 0 and found["clipping"]["threshold"] == 1, f"{found['clipping']}")
    gates = found["importance"]["gates"]
    expect([(gate["layer"], gate["gate"]) for gate in gates] == [(n, g) for n in (2, 3) for g in "ifo"], "six gates")
    expect(all(gate["loss_at_0"] > 0 for gate in gates) and found["importance"]["targets"] == 299, "losses")
    expect([unit["pattern"] for unit in found["units"]] == ["quotes", "brackets", "comment", "line"], "patterns")
    expect("unit" in found["units"][3] and "unit" not in found["units"][2], "lines are there, comments are not")
    for layer in found["layers"]:
        expect([gate["name"] for gate in layer["gates"]] == ["i", "f", "o"], "gates")
        expect(all(abs(sum(gate["histogram"]) - 1) < 1e-9 for gate in layer["gates"]), "shares add up to 1")
        expect(len(layer["memories"][0]["half_life"]) == 24, "a half-life for every unit")


HOSTILE = 'The <script>alert("x")</script> & cat\' "sat" ]]> <b onload=1>\x01\x1b[31m on {mat}.\n'


def test_hostile_text():
    """Whatever stands in a text: it reaches neither the page as markup nor the terminal as commands."""
    write("book<b>.txt", HOSTILE * 100)
    ok("lm", "train", "book<b>.txt", "-o", "m.safetensors", "--level", "byte", "--hidden", "8", "--updates", "3")
    result = ok("inspect", "m.safetensors", "book<b>.txt", "--tokens", "700", "--unit", "2.h.3", "--report", "r.html")
    expect("\x1b[31m" not in result.out and "\x01" not in result.out, "control characters of the text on the terminal")
    page = pathlib.Path("r.html").read_text(encoding="utf-8")
    bare = re.sub(r"<[^>]*>", "", page[page.index("<body>"):])
    expect("&lt;script&gt;" in bare and "<script" not in page and "onload=1>" not in page, "not escaped")
    expect("\x01" not in page and "\x1b" not in page, "control characters in the page")
    matches(r'class="colored">', page, "the text in colours")


def test_plot():
    write("book.txt", "The cat sat on the mat. The dog saw the cat and ran.\n" * 200)
    ok("lm", "train", "book.txt", "-o", "m.safetensors", "--cell", "gru", "--hidden", "8", "--updates", "2")
    for chart, word in (("gradients", "Gradient of the loss, k steps back"), ("gates", "z, layer 2"),
                        ("importance", "held at 0 (shut)")):
        ok("inspect", "m.safetensors", "book.txt", "--tokens", "200", "--plot", f"{chart}.svg", "--chart", chart)
        expect(word in words(pathlib.Path(f"{chart}.svg").read_text(encoding="utf-8")), f"{chart}: {word}")
    ok("inspect", "m.safetensors", "book.txt", "--tokens", "200", "--plot", "zh.svg", "--lang", "zh")
    expect("损失对 k 步之前的梯度" in words(pathlib.Path("zh.svg").read_text(encoding="utf-8")), "in Chinese")
    refused(2, r"a\.gif: a picture ends in", "inspect", "m.safetensors", "book.txt", "--plot", "a.gif")
    refused(5, "nowhere", "inspect", "m.safetensors", "book.txt", "--plot", "nowhere/a.svg")
    for unit in ("2.h", "h", "2.h.x", "0.h.1"):
        refused(2, "LAYER.STATE.UNIT", "inspect", "m.safetensors", "book.txt", "--unit", unit)
    refused(2, "no cell", "inspect", "m.safetensors", "book.txt", "--unit", "1.h.1")
    refused(2, "neither a state nor an equation", "inspect", "m.safetensors", "book.txt", "--unit", "2.q.1")
    refused(2, "units 1 to 8", "inspect", "m.safetensors", "book.txt", "--unit", "2.h.9")


def test_inspect_a_forecast():
    """A model that reads numbers: the same sights but for those of a text."""
    rows = [f"{1949 + i // 12}-{i % 12 + 1:02d},{100 + 2 * i + i % 12}" for i in range(144)]
    write("air.csv", "month,passengers\n" + "\n".join(rows) + "\n")
    write("short.csv", "month,passengers\n" + "\n".join(rows[:5]) + "\n")
    ok("forecast", "train", "air.csv", "-o", "f.safetensors", "--horizon", "6", "--updates", "5", "--hidden", "8")
    shown = ok("inspect", "f.safetensors", "air.csv", "--report", "r.html", "--plot", "p.svg", "--lang", "zh").out
    matches(r"^layer 1: lstm, 8 units, \d+ steps$", shown, "the layer")
    matches(r"^clipping: norm of the gradient over 8 updates: median \S+, at most \S+; clipping at 1 would$", shown, "clipping")
    expect("follow the text" not in shown, "a text where there is none")
    pictures = re.findall(r"<svg.*?</svg>", pathlib.Path("r.html").read_text(encoding="utf-8"), re.DOTALL)
    expect(len(pictures) == 1 + 1 + 3 * 2 + 2, f"{len(pictures)} pictures")
    found = json.loads(ok("inspect", "f.safetensors", "air.csv", "--json").out)
    expect([curve["of"] for curve in found["gradients"]] == ["input", "h", "c"] and "units" not in found, f"{found.keys()}")
    expect(len(found["importance"]["gates"]) == 3, "three gates")
    refused(3, "need", "inspect", "f.safetensors", "short.csv")
    refused(5, "nowhere", "inspect", "f.safetensors", "nowhere.csv")
    refused(2, "--unit colours a text", "inspect", "f.safetensors", "air.csv", "--unit", "1.h.1")


def test_inspect_patches():
    """Where `patch` makes one step of many, gates and distances count those; sequences are filled up as in training."""
    rows = [f"{1949 + i // 12}-{i % 12 + 1:02d},{100 + 2 * i + i % 12}" for i in range(144)]
    write("air.csv", "month,passengers\n" + "\n".join(rows) + "\n")
    ok("forecast", "train", "air.csv", "-o", "f.safetensors", "--horizon", "6", "--context", "24", "--updates", "5",
       "--net", "patch 6 | gru 8 | quantile last")
    shown = ok("inspect", "f.safetensors", "air.csv", "--report", "r.html").out
    matches(r"^layer 1: gru, 8 units, 128 steps$", shown, "32 windows of 4 steps of the net")
    matches("^k counts steps of the net: `patch` makes one of 6$", shown, "what k counts")
    matches(r"input of layer 1 +\S+ at k = 0, \S+ at k = 3$", shown, "four steps")
    expect("A step of this net is 6 steps" in pathlib.Path("r.html").read_text(encoding="utf-8"), "what k counts")
    write("waves.csv", labelled(24))
    ok("classify", "train", "waves.csv", "-o", "c.safetensors", "--net", "patch 4 | gru 8 | softmax last", "--updates", "5",
       "--differences")
    shown = ok("inspect", "c.safetensors", "waves.csv").out
    matches(r"^layer 1: gru, 8 units, 72 steps$", shown, "9, 10 and 11 steps are 3 of the net")
    matches(r"input of layer 1 +\S+ at k = 0, \S+ at k = 2$", shown, "three steps")


def labelled(count):
    """Waves of two speeds, of unlike lengths, as CSV with a step a row."""
    rows = [f"{i},{t},{math.sin(t * (1 + i % 2) / 2):.3f},{'ab'[i % 2]}" for i in range(count) for t in range(9 + i % 3)]
    return "id,step,x,class\n" + "\n".join(rows) + "\n"


def test_inspect_a_classifier():
    """Sequences with a class: the same sights but for those of a text; nets that read from both ends have no gradients."""
    write("waves.csv", labelled(24))
    write("bare.csv", "id,step,x\n0,0,1\n0,1,2\n")
    for name, options in (("f", ("--direction", "forward", "--head", "last")), ("b", ())):
        ok("classify", "train", "waves.csv", "-o", f"{name}.safetensors", "--hidden", "8", "--updates", "5", *options)
    shown = ok("inspect", "f.safetensors", "waves.csv", "--report", "r.html", "--plot", "p.svg").out
    matches(r"^layer 1: lstm, 8 units, 240 steps$", shown, "all steps of all sequences")
    matches(r"^frozen gates: loss \d\.\d+ nats a class as it is", shown, "the loss")
    matches(r"h of layer 1 +\S+ at k = 1, \S+ at k = 10$", shown, "back through the median length")
    matches(r"^clipping: norm of the gradient over 8 updates: median \S+, at most \S+; clipping at 1 would$", shown, "clipping")
    expect("follow the text" not in shown, "a text where there is none")
    pictures = re.findall(r"<svg.*?</svg>", pathlib.Path("r.html").read_text(encoding="utf-8"), re.DOTALL)
    expect(len(pictures) == 1 + 1 + 3 * 2 + 2, f"{len(pictures)} pictures")
    for language, word in (("en", "reads from both ends"), ("zh", "从两端读")):
        shown = ok("inspect", "b.safetensors", "waves.csv", "--report", "r.html", "--lang", language).out
        expect(word in pathlib.Path("r.html").read_text(encoding="utf-8"), "why there is no gradient")
    matches(r"^layer 1 from the end: lstm, 8 units, 240 steps$", shown, "the other half")
    found = json.loads(ok("inspect", "b.safetensors", "waves.csv", "--json").out)
    expect([layer["from_the_end"] for layer in found["layers"]] == [False, True], "two halves")
    expect(found["gradients"] == [] and len(found["importance"]["gates"]) == 3, f"{found['importance']}")
    expect(found["importance"]["targets"] == 24, "a target a sequence")
    refused(2, "both ends", "inspect", "b.safetensors", "waves.csv", "--plot", "p.svg")
    ok("inspect", "b.safetensors", "waves.csv", "--plot", "p.svg", "--chart", "gates")
    refused(3, "bare.csv", "inspect", "f.safetensors", "bare.csv")
    refused(2, "--unit colours a text", "inspect", "f.safetensors", "waves.csv", "--unit", "1.h.1")


def test_inspect_a_tagger():
    """Sentences: the loss counts words that have a tag."""
    write("tags.conll", "The D\ncat N\nruns V\n\nA D\ndog N\n\n" * 10)
    ok("tag", "train", "tags.conll", "-o", "t.safetensors", "--hidden", "6", "--updates", "5", "--direction", "forward")
    found = json.loads(ok("inspect", "t.safetensors", "tags.conll", "--json").out)
    expect(found["importance"]["targets"] == 50 and len(found["gradients"]) == 3, f"{found['importance']}")
    expect([curve["of"] for curve in found["gradients"]] == ["input", "h", "c"], "the embedding too")


def test_first_weights_are_made_again():
    """Before training means: the weights of this model's own seed and schemes."""
    write("book.txt", "The cat sat on the mat. The dog saw the cat and ran.\n" * 50)
    for seed in (1, 2):
        ok("lm", "train", "book.txt", "-o", f"{seed}.safetensors", "--hidden", "8", "--updates", "1", "--rate", "1e-9",
           "--seed", str(seed), "--bias-init", "bf=2", "--init", "uniform(0.5)")
        shown = ok("inspect", f"{seed}.safetensors", "book.txt", "--tokens", "100").out
        gates = re.findall(r"^  [ifo] +(.*?) +0 ", shown, re.MULTILINE)
        before = re.findall(r"^ +before +(.*?) +0 ", shown, re.MULTILINE)
        expect(len(gates) == 3 and gates == before, f"untrained, but {gates} is not {before}")


def test_inspect_refused():
    write("book.txt", "The cat sat on the mat. The dog saw the cat and ran.\n" * 200)
    ok("lm", "train", "book.txt", "-o", "m.safetensors", "--hidden", "8", "--updates", "2")
    write("empty.txt", "")
    refused(2, "too few", "inspect", "m.safetensors")
    refused(3, "empty", "inspect", "m.safetensors", "empty.txt")
    refused(4, "book.txt", "inspect", "book.txt", "book.txt")
    refused(5, "nowhere", "inspect", "m.safetensors", "nowhere.txt")
    refused(5, "nowhere", "inspect", "m.safetensors", "book.txt", "--report", "nowhere/r.html")
    refused(2, "en, zh|en|zh", "inspect", "m.safetensors", "book.txt", "--lang", "fr")
    ok("quantize", "m.safetensors", "-o", "whole.safetensors")
    refused(2, "int8 has no gradients", "inspect", "whole.safetensors", "book.txt")


if __name__ == "__main__":
    main(globals())
