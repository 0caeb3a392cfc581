#!/usr/bin/env python3
"""The classifiers behind docs/results.md: `bench/classify.py CAROUSEL DATA [SET...]` prints a table row a set.

In:  the program; a folder with uea/*.ts and mnist/*-ubyte.gz. Out: accuracy on the test part, mean and range over seeds
1 to 5 (MNIST: 1 to 3), that of the mean of their probabilities, processor seconds. One process at a time, one thread.

The options were chosen by `--valid-fraction 0.3` within the training part alone (accuracy, then loss, mean of three
seeds). The runs here learn from all of it (`--valid-fraction 0`) for as many epochs as that took, but for MNIST, which keeps a
tenth for early stopping. The test part is looked at by `classify eval` alone.
"""
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

ALL = "--valid-fraction 0 --threads 1"
SETS = {
    "JapaneseVowels": (5, f"--dropout 0.5 --batch 8 --noise 0.6 --warp 0.2 --epochs 60 {ALL}"),
    "PickupGestureWiimoteZ": (5, f"--cell gru --hidden 128 --dropout 0.4 --batch 8 --noise 0.1 --warp 0.1 --epochs 150 {ALL}"),
    "ItalyPowerDemand": (5, f"--head last --noise 0.4 --epochs 200 {ALL}"),
    "GunPoint": (5, f"--cell gru --rate 0.002 --batch 8 --noise 0.1 --epochs 200 {ALL}"),
    "MNIST": (3, "--hidden 128 --batch 64 --dropout 0.3 --scaling all --shift 2 --shift-channels 2 --epochs 20 "
                 "--valid-fraction 0.1 --threads 1"),
}


def files(data, name):
    if name == "MNIST":
        return data / "mnist/train10k-images-idx3-ubyte.gz", data / "mnist/t10k-images-idx3-ubyte.gz"
    return data / f"uea/{name}_TRAIN.ts", data / f"uea/{name}_TEST.ts"


def run(*words):
    done = subprocess.run(["nice", "-n", "15", *map(str, words)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure(program, data, name):
    seeds, options = SETS[name]
    train, test = files(data, name)
    with tempfile.TemporaryDirectory() as folder:
        models, hits = [], []
        for seed in range(1, seeds + 1):
            models.append(f"{folder}/{seed}.safetensors")
            run(program, "classify", "train", train, "-o", models[-1], "--seed", seed, "--json", *options.split())
            hits.append(100 * run(program, "classify", "eval", models[-1], test, "--json")["accuracy"])
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        together = run(program, "classify", "eval", *models, test, "--json")
    print(f"| {name} | `{options}` | {seeds} | {statistics.mean(hits):.2f} ({min(hits):.2f} to {max(hits):.2f}) | "
          f"{100 * together['accuracy']:.2f} | {100 * together['majority_accuracy']:.2f} | {seconds:.0f} |", flush=True)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print("| set | options of `classify train` | seeds | accuracy, % (range) | of their mean, % | most frequent class, % | "
          "seconds so far |\n|---|---|---|---|---|---|---|")
    for name in sys.argv[3:] or SETS:
        measure(sys.argv[1], pathlib.Path(sys.argv[2]), name)


if __name__ == "__main__":
    main()
