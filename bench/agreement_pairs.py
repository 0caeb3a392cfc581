#!/usr/bin/env python3
"""Number agreement sets as pairs for `carousel lm score --no-end --pairs`, in the Penn Treebank's way of writing.

    bench/agreement_pairs.py FILE... > pairs.tsv

In, by what the file's name ends in:
    .jsonl   BLiMP (Warstadt et al. 2020): whole sentences; group: the file's name
    .gold    Linzen, Dupoux & Goldberg 2016 as filtered by Gulordava et al. 2018, with the .text beside it: the sentence up to
             the verb, in the right and in the wrong number; group: number of attractors
    .tab     Gulordava et al. 2018 ("colorless green"): the beginning and each form; group: original or nonce
    .txt     number prediction after Linzen: sentence, indices, tag, verb, other form; group: the verb's number
Out: lines right<TAB>wrong<TAB>group, in lower case, numbers as N, n't and 's apart, unless --as-is.
"""
import argparse
import csv
import json
import pathlib
import re
import sys


def treebank(text):
    """The Penn Treebank's tokens as in Mikolov's files: no capitals, no punctuation, N for numbers."""
    text = re.sub(r"(n't|'s|'re|'ve|'ll|'d|'m)\b", r" \1", text.lower())
    text = re.sub(r"\d[\d,.]*", "N", text)
    return " ".join(re.sub(r"[.,;:!?\"()]|(?<!\S)['`-]+(?!\S)", " ", text).split())


def blimp(path):
    for line in path.open(encoding="utf-8"):
        pair = json.loads(line)
        yield pair["sentence_good"], pair["sentence_bad"], path.stem


def linzen(path):
    texts = path.with_suffix(".text").open(encoding="utf-8")
    for text, line in zip(texts, path.open(encoding="utf-8")):
        index, right, wrong, attractors = line.split("\t")
        begin = text.split()[:int(index)]
        yield " ".join([*begin, right]), " ".join([*begin, wrong]), f"{int(attractors)} attractors"


def colorless(path):
    rows = {}
    for row in csv.DictReader(path.open(encoding="utf-8"), delimiter="\t"):
        rows.setdefault((row["pattern"], row["constr_id"], row["sent_id"]), {})[row["class"]] = row
    for row in rows.values():
        begin = " ".join(row["correct"]["sent"].split()[:int(row["correct"]["len_prefix"])])
        kind = "original" if row["correct"]["type"] == "original" else "nonce"
        yield f"{begin} {row['correct']['form']}", f"{begin} {row['wrong']['form']}", kind


def prediction(path):
    for row in csv.DictReader(path.open(encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE):
        begin = row["sentence"].split()[:int(row["verb_idx"])]
        number = "singular" if row["verb_pos"] == "VBZ" else "plural"
        yield " ".join([*begin, row["verb"]]), " ".join([*begin, row["inflected_verb"]]), number


READERS = {".jsonl": blimp, ".gold": linzen, ".tab": colorless, ".txt": prediction}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--as-is", action="store_true", help="leave the words as they are")
    options = parser.parse_args()
    write = (lambda text: text) if options.as_is else treebank
    for path in options.files:
        if path.suffix not in READERS:
            sys.exit(f"{path}: no reader for {path.suffix}; one of {', '.join(READERS)}")
        for right, wrong, group in READERS[path.suffix](path):
            right, wrong = write(right), write(wrong)
            if right != wrong:
                print(right, wrong, group, sep="\t")


if __name__ == "__main__":
    main()
