"""`carousel search` as a user runs it: comparing cells, and every bad input with its exit code."""
import json

from harness import expect, main, matches, ok, refused, write

SMALL = ("--settings", "2", "--updates", "12", "--weights", "600", "--batch", "4", "--unroll", "6", "--checks", "2")


def without_times(results):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in results]


def test_compare():
    write("words.txt", "the cat sat on the mat\nthe dog ran\n" * 60)
    write("roll.txt", "60 64\n62\n-\n61 65 70\n60\n\n" * 12)
    tasks = ("--task", "arithmetic@2", "--task", "words:words.txt", "--task", "music:roll.txt", "--task", "memorisation@3")
    table = ok("search", "compare", "lstm", "mut1", *tasks, *SMALL, "--seeds", "2", env={"LC_ALL": "C.UTF-8"}).out
    matches(r"^arithmetic@2$", table, "table")
    matches(r"^mut1 +\d+\.\d\d ± \d+\.\d\d +\d+\.\d+ ± \d+\.\d+ +\d+ +\d+ +\d", table, "table")
    found = json.loads(ok("search", "compare", "lstm", "mut1", *tasks, *SMALL, "--seeds", "2", "--json").out)
    again = json.loads(ok("search", "compare", "lstm", "mut1", *tasks, *SMALL, "--seeds", "2", "--json").out)
    expect(len(found["results"]) == 16, found)
    expect(without_times(found["results"]) == without_times(again["results"]), "the same seed, other results")
    music = [row for row in found["results"] if row["task"] == "music:roll.txt"]
    expect(all(0 < row["nats"] < 88 and 0 <= row["accuracy"] <= 1 for row in music), music)
    expect(all(row["nats"] is None for row in found["results"] if row["task"] == "memorisation@3"), found)


def test_compare_refuses():
    refused(2, "--task", "search", "compare", "lstm")
    refused(2, "no such task", "search", "compare", "lstm", "--task", "sums")
    refused(2, "twice", "search", "compare", "lstm", "--task", "xml", "--task", "xml")
    refused(5, "none.txt", "search", "compare", "lstm", "--task", "words:none.txt")
    write("bad.cell", "cell bad(x) -> h\nstate h\nh' = tanh(W@x\n")
    refused(3, "bad.cell", "search", "compare", "./bad.cell", "--task", "xml")
    write("bad.txt", "60\n200\n")
    refused(3, "line 2", "search", "compare", "lstm", "--task", "music:bad.txt")


if __name__ == "__main__":
    main(globals())
