"""carousel tag, as a user runs it: a made-up language of names and towns, levels, spans, resuming, bad files."""
import json
import pathlib
import random
import struct

from harness import expect, main, matches, ok, refused, write

FIRST = ["Anna", "Bert", "Clara", "Dora", "Emil", "Franz", "Gerda", "Hugo"]
FAST = ("--threads", "1", "--hidden", "24", "--embed", "24")


def name(numbers, endings):
    """A word that is hardly ever seen twice; its ending tells a town from a family name."""
    stem = "".join(numbers.choice("bcdfglmnprst") + numbers.choice("aeiou") for _ in range(numbers.randint(2, 3)))
    return stem.capitalize() + numbers.choice(endings)


def sentence(numbers):
    words = [(numbers.choice(FIRST), "B-PER")]
    if numbers.random() < 0.7:
        words.append((name(numbers, ["sen", "mann", "er"]), "I-PER"))
    words += [(numbers.choice(["likes", "knows", "sees"]), "O")]
    # a town or a person may follow: only the word itself tells which
    if numbers.random() < 0.5:
        words.append((name(numbers, ["burg", "heim", "stadt"]), "B-LOC"))
    else:
        words.append((name(numbers, ["sen", "mann", "er"]), "B-PER"))
    return words + [(".", "O")]


def text(count, seed):
    numbers = random.Random(seed)
    return "\n".join("".join(f"{word}\t{tag}\n" for word, tag in sentence(numbers)) for _ in range(count))


def train(output="m.safetensors", data="a.conll", options=()):
    return ok("tag", "train", data, "-o", output, *FAST, *options)


def judge(model="m.safetensors", data="b.conll"):
    return json.loads(ok("tag", "eval", model, data, "--json").out)


def test_words_never_seen_are_tagged_by_their_characters():
    write("a.conll", text(250, 1))
    write("b.conll", text(80, 2))
    result = train()
    matches(r"validation: accuracy .*always the most frequent class", result.out, "train")
    both = judge()
    expect(both["span_f1"] > 0.95 and both["unit"] == "word", both)
    expect(both["unknown_words"] > 80 and both["unknown_right"] > 0.95 * both["unknown_words"], both)
    expect(both["usual_accuracy"] < 0.9 < both["accuracy"] and both["majority_accuracy"] < 0.6, both)
    # words alone cannot know: the town and the person stand in the same place
    train("w.safetensors", options=["--level", "word"])
    word = judge("w.safetensors")
    expect(word["span_f1"] < both["span_f1"] - 0.1 and word["unknown_words"] == both["unknown_words"], word)
    shown = ok("tag", "eval", "m.safetensors", "b.conll").out
    for part in ("spans: F1", "words without a symbol", "usual tag", "macro-F1"):
        matches(part, shown, "eval")


def test_predict_gives_columns_back():
    write("a.conll", text(150, 1))
    train(options=["--level", "char"])
    given = "Anna\nTeramann\n\nTotoheim x y\n\n\n.\n"
    out = ok("tag", "predict", "m.safetensors", "-", stdin=given).out
    expect([line.split("\t")[0] for line in out.split("\n")] == ["Anna", "Teramann", "", "Totoheim", "", ".", ""], repr(out))
    data = json.loads(ok("tag", "predict", "m.safetensors", "-", "--json", stdin=given).out)["sentences"]
    expect([[word["word"] for word in words] for words in data] == [["Anna", "Teramann"], ["Totoheim"], ["."]], data)
    tags = [line.split("\t")[1] for line in out.split("\n") if line]
    expect(tags == [word["tag"] for words in data for word in words] and "O" in tags, tags)
    expect(all(0 < word["probability"] <= 1 for words in data for word in words), data)


def test_more_columns_and_comments():
    lines = text(60, 1).replace("\t", " NN x ")
    write("a.conll", "# made up\n-DOCSTART- -X- O\n\n" + lines.replace("\n", "\r\n"))
    write("b.conll", text(60, 1))
    ok("tag", "train", "a.conll", "-o", "m.safetensors", *FAST, "--epochs", "3")
    ok("tag", "train", "b.conll", "-o", "n.safetensors", *FAST, "--epochs", "3")
    expect(judge("m.safetensors") == judge("n.safetensors"), "blanks, comments or line ends change what is read")


def test_spans_by_hand():
    """A model of constants: a head bias that says I-X of every word."""
    write("a.conll", "a B-X\nb I-X\nc O\n\n" * 12)
    ok("tag", "train", "a.conll", "-o", "m.safetensors", *FAST, "--epochs", "1", "--valid-fraction", "0")
    data = bytearray(pathlib.Path("m.safetensors").read_bytes())
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    classes = json.loads(header["__metadata__"]["classify.model"])["classes"]
    for key in [key for key in header["__metadata__"] if "sha256" in key]:
        del header["__metadata__"][key]
    for key, tensor in header.items():
        if key != "__metadata__":
            begin, end = tensor["data_offsets"]
            values = [0.0] * ((end - begin) // 4)
            if len(values) == len(classes):
                values[classes.index("I-X")] = 5.0
            data[8 + length + begin:8 + length + end] = struct.pack(f"<{len(values)}f", *values)
    text_of = json.dumps(header).encode()
    text_of += b" " * (-len(text_of) % 8)
    write("c.safetensors", struct.pack("<Q", len(text_of)) + text_of + bytes(data[8 + length:]))
    write("t.conll", "a B-X\nb I-X\n\nc B-X\nd B-X\n\ne O\nf B-X\n\ng I-X\n")
    result = judge("c.safetensors", "t.conll")
    # said: one span a sentence, the whole of it; right: the first and the last
    expect([result[key] for key in ("spans", "spans_said", "spans_right")] == [5, 4, 2], result)
    expect(abs(result["span_f1"] - 2 * 2 / (5 + 4)) < 1e-9, result)
    expect(result["usual_accuracy"] == 4 / 7, result)  # a, b by their usual tag, c not; the most frequent, B-X, for d to g
    expect(0 <= result["accuracy_low"] < result["accuracy"] < result["accuracy_high"] <= 1, result)


def test_resumed_is_uninterrupted():
    write("a.conll", text(80, 1))
    how = ["--schedule", "constant", "--patience", "0", "--forget", "0.3"]

    def answers(model):
        return ok("tag", "predict", model, "a.conll", "--probabilities").out

    train("x.safetensors", options=[*how, "--updates", "20"])
    train("y.safetensors", options=[*how, "--updates", "9", "--threads", "2"])
    ok("tag", "train", "--resume", "y.safetensors.last", "--updates", "20")
    expect(answers("x.safetensors") == answers("y.safetensors"), "resumed is not as if never interrupted")


def test_refusals():
    write("a.conll", text(40, 1))
    train(options=["--epochs", "1"])

    def bad(content, error, verb="train", code=3):
        write("t.conll", content)
        words = ("train", "t.conll", "-o", "n.safetensors") if verb == "train" else (verb, "m.safetensors", "t.conll")
        refused(code, error, "tag", *words)

    bad(text(20, 1) + "\nword\n", r"t\.conll:\d+:5: the tag is missing")
    bad("a X\nb X\n", "all its labels are `X`")
    bad("", "no sequence in it")
    bad(b"a X\n\xff Y\n", r"t\.conll:2:1: not UTF-8")
    bad("a X\nb\0c Y\n", r"t\.conll:2:1: not UTF-8")
    bad("a X\n" + "b" * 2000 + " Y\n", "a word of more than")
    bad("a B-NEW\n", r"t\.conll:1:3: class `B-NEW` is unknown; there are `B-LOC`", "eval")
    refused(5, "No such file", "tag", "eval", "m.safetensors", "none.conll")
    refused(2, "start it with `embed N`", "tag", "train", "a.conll", "-o", "n.safetensors", "--net", "lstm 8 | softmax")
    refused(2, "end it with `softmax each`", "tag", "train", "a.conll", "-o", "n.safetensors", "--net",
            "embed 8 | lstm 8 | softmax last")
    refused(2, "use carousel tag", "classify", "eval", "m.safetensors", "a.conll")
    write("x.csv", "id,a,label\n" + "".join(f"{i},{i % 2},{'xy'[i % 2]}\n" for i in range(20)))
    ok("classify", "train", "x.csv", "-o", "c.safetensors", "--epochs", "1", "--threads", "1")
    refused(2, "use carousel classify", "tag", "eval", "c.safetensors", "a.conll")
    config = json.loads(ok("tag", "train", "a.conll", "-o", "x", "--print-config").out)
    expect(config["level"] == "both" and config["least"] == 2, config)


main(globals())
