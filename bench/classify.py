#!/usr/bin/env python3
"""The classifiers behind docs/results.md: `bench/classify.py CAROUSEL DATA [SET...]` prints a table row a set.

In:  the program; a folder with uea/*.ts and mnist/*-ubyte.gz. Out: accuracy on the test part, mean and range over seeds
1 to 5 (MNIST: 1 to 3), of the means of three seeds' probabilities (all triples), of the mean of all, processor seconds. One
process at a time, one thread.

`bench/classify.py CAROUSEL DATA choose [SET...]` prints what the options were chosen by: the loss of ten-fold
cross-validation within the training part (`--folds 10`), mean of seeds 1 to 3, for each of the CANDIDATES. The first of each set
is the one whose loss was least; it is what the table is made with. MNIST's were chosen by `--valid-fraction 0.1`.
The test part is looked at by `classify eval` alone.
"""
import itertools
import json
import pathlib
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile

CANDIDATES = {
    "JapaneseVowels": [
        "--differences --net 'dense 128 | dense 128 dropout 0.5 | softmax mean dropout 0.5' --batch 8 --noise 0.6 --warp 0.2 --epochs 120",
        "--differences --net 'dense 64 | dense 64 dropout 0.3 | softmax mean dropout 0.3' --batch 8 --noise 0.6 --warp 0.2 --epochs 120",
        "--differences --net 'dense 64 | dense 64 dropout 0.5 | softmax mean dropout 0.5' --batch 8 --noise 0.8 --warp 0.2 --epochs 120",
        "--differences --net 'dense 64 | dense 64 dropout 0.5 | softmax mean dropout 0.5' --batch 8 --noise 0.6 --warp 0.2 --epochs 120",
        "--differences --net 'patch 2 | dense 64 | dense 64 dropout 0.5 | softmax mean dropout 0.5' --batch 8 --noise 0.6 --warp 0.2 "
        "--epochs 120",
        "--differences --net 'dense 64 | gru 64 bi dropout 0.5 | softmax mean dropout 0.5' --batch 8 --noise 0.6 --warp 0.2 --epochs 60",
        "--differences --dropout 0.5 --batch 8 --noise 0.6 --warp 0.2 --epochs 60",
        "--differences --dropout 0.5 --batch 8 --noise 0.6 --warp 0.2 --epochs 120",
    ],
    "PickupGestureWiimoteZ": [
        "--net 'patch 8 | gru 128 bi dropout 0.4 | softmax mean' --batch 8 --noise 0.1 --warp 0.1 --epochs 150",
        "--net 'patch 8 | gru 128 bi dropout 0.4 | softmax mean' --batch 8 --noise 0.1 --epochs 150",
        "--net 'patch 16 | gru 128 bi dropout 0.4 | softmax mean' --batch 8 --noise 0.1 --warp 0.1 --epochs 150",
    ],
    "ItalyPowerDemand": [
        "--net 'patch 24 | dense 64 x3 | softmax last' --noise 0.5 --epochs 200",
        "--net 'patch 24 | dense 64 x3 | softmax last' --noise 0.4 --epochs 200",
        "--net 'patch 24 | dense 64 x2 | softmax last' --noise 0.4 --epochs 200",
        "--net 'patch 24 | dense 64 x3 | softmax last' --noise 0.6 --epochs 200",
        "--head last --noise 0.4 --epochs 200",
    ],
    "GunPoint": [
        "--net 'patch 5 | gru 64 bi | softmax mean' --rate 0.002 --batch 8 --noise 0.1 --epochs 200",
        "--net 'patch 5 | gru 64 bi | softmax mean' --rate 0.002 --batch 8 --noise 0.2 --epochs 200",
    ],
}
MNIST = ("--hidden 128 --batch 64 --dropout 0.3 --scaling all --shift 2 --shift-channels 2 --epochs 20 "
         "--valid-fraction 0.1 --threads 1")


def files(data, name):
    if name == "MNIST":
        return data / "mnist/train10k-images-idx3-ubyte.gz", data / "mnist/t10k-images-idx3-ubyte.gz"
    return data / f"uea/{name}_TRAIN.ts", data / f"uea/{name}_TEST.ts"


def run(*words):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def train(program, path, output, seed, options):
    return run(program, "classify", "train", path, "-o", output, "--seed", seed, "--json", *shlex.split(options))


def choose(program, data, name):
    for options in CANDIDATES.get(name, []):
        with tempfile.TemporaryDirectory() as folder:
            judged = [train(program, files(data, name)[0], f"{folder}/m", seed, f"{options} --folds 10 --threads 1")
                      for seed in (1, 2, 3)]
        print(f"| {name} | `{options}` | {100 * statistics.mean(one['accuracy'] for one in judged):.2f} | "
              f"{statistics.mean(one['validation_nats'] for one in judged):.4f} |", flush=True)


def measure(program, data, name):
    few = name != "MNIST"
    options = f"{CANDIDATES[name][0]} --valid-fraction 0 --threads 1" if few else MNIST
    learn, test = files(data, name)

    def accuracy(models):
        return 100 * run(program, "classify", "eval", *models, test, "--json")["accuracy"]

    with tempfile.TemporaryDirectory() as folder:
        models = [f"{folder}/{seed}.safetensors" for seed in range(1, 6 if few else 4)]
        for seed, model in enumerate(models, 1):
            train(program, learn, model, seed, options)
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        alone = [accuracy([model]) for model in models]
        three = [accuracy(triple) for triple in itertools.combinations(models, 3)]
        together = run(program, "classify", "eval", *models, test, "--json")
    print(f"| {name} | `{options}` | {len(models)} | {statistics.mean(alone):.2f} ({min(alone):.2f} to {max(alone):.2f}) | "
          f"{statistics.mean(three):.2f} ({min(three):.2f} to {max(three):.2f}) | "
          f"{100 * together['accuracy']:.2f} | {100 * together['majority_accuracy']:.2f} | {seconds:.0f} |", flush=True)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    program, data, *names = sys.argv[1:]
    data = pathlib.Path(data)
    if names[:1] == ["choose"]:
        print("| set | options of `classify train` | ten folds: accuracy, % | loss |\n|---|---|---|---|")
        for name in names[1:] or CANDIDATES:
            choose(program, data, name)
        return
    print("| set | options of `classify train` | seeds | accuracy, % (range) | three averaged, % (range) | all averaged, % | "
          "most frequent class, % | seconds so far |\n|---|---|---|---|---|---|---|---|")
    for name in names or [*CANDIDATES, "MNIST"]:
        measure(program, data, name)


if __name__ == "__main__":
    main()
