#!/usr/bin/env python3
"""The forecasts of docs/results.md: forecast.py CAROUSEL DATA [CASE...]

In:  the program and the folder of data sets (m4/, etth/, series/, stocks/), which are not part of the repository.
Out: a line of a Markdown table for every case (all, or those that are named): the mean over
     seeds 1, 2, 3 on the test part. Context, reference and net were chosen on the training part alone.
"""
import csv
import json
import math
import pathlib
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

SEEDS = (1, 2, 3)


# ---- files ---------------------------------------------------------------------------------------------------


def m4_part(data, name, part):
    with open(data / "m4" / f"{name}-{part}.csv", encoding="utf-8") as file:
        return {row[0]: [value for value in row[1:] if value] for row in list(csv.reader(file))[1:]}


def overlapping(train, test):
    """Series whose test part has five values in a row that stand in another's training part: one net for all has seen
    them, since the series of M4 begin at different times."""
    owner = {}
    for key, values in train.items():
        for i in range(len(values) - 4):
            if len(set(values[i:i + 5])) > 2:
                owner.setdefault(tuple(values[i:i + 5]), key)
    return {key for key, values in test.items()
            if any(owner.get(tuple(values[i:i + 5]), key) != key for i in range(len(values) - 4))}


def m4(data, name, out, apart=False):
    """Train and test file one behind the other: the last horizon is the test."""
    train, test = m4_part(data, name, "train"), m4_part(data, name, "test")
    left_out = overlapping(train, test) if apart else set()
    rows = {key: values + test[key] for key, values in train.items() if key not in left_out}
    out.write_text("unique_id,ds,y\n" + "".join(
        f"{key},{i},{value}\n" for key, values in rows.items() for i, value in enumerate(values, 1)))


def pollution(data, out):
    with open(data / "series" / "pollution.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    out.write_text("ds,y,dew,temperature,pressure,wind\n" + "".join(
        f"{r['year']}-{int(r['month']):02}-{int(r['day']):02} {int(r['hour']):02}:00,{r['pm2.5']},{r['DEWP']},"
        f"{r['TEMP']},{r['PRES']},{r['Iws']}\n" for r in rows))


def exchange(data, out):
    lines = (data / "series" / "exchange_rate.csv").read_text().splitlines()
    out.write_text(f"day,{','.join(f'c{i}' for i in range(1, 9))}\n" + "".join(
        f"{i},{line}\n" for i, line in enumerate(lines)))


def signal(out):
    """Prices whose return of tomorrow is 0.6 times that of today, and noise."""
    numbers, level, move, lines = random.Random(1), 0.0, 0.0, []
    for day in range(4000):
        move = 0.6 * move + numbers.gauss(0, 0.01)
        level += move
        lines.append(f"{day},{100 * math.exp(level)!r}\n")
    out.write_text("day,Close\n" + "".join(lines))


def short_series(out):
    """10,000 series of 60 months: a season of their own on a level of their own."""
    numbers = random.Random(2)
    with open(out, "w", encoding="utf-8") as file:
        file.write("unique_id,ds,y\n")
        for k in range(10000):
            level, swing, at = math.exp(numbers.gauss(3, 1)), numbers.random() / 2, numbers.random() * 12
            file.writelines(f"s{k},{2015 + i // 12}-{i % 12 + 1:02},"
                            f"{level * (1 + swing * math.sin((i + at) * math.pi / 6)) * numbers.gauss(1, 0.05):.4f}\n"
                            for i in range(60))


# ---- cases ---------------------------------------------------------------------------------------------------

PRICES = "--horizon 1 --context 30 --updates 300"
ETTH = ("--time date --value HUFL,HULL,MUFL,MULL,LUFL,LULL,OT --stride 1 --validation 2880 --scale series "
        "--batch 256 --updates 2000 --patience 8 --validate-every 100 --rate 0.001")


def cases(data, folder):
    """(name, path, how to make it or None, options, net or None)"""
    hourly, weekly, etth = folder / "hourly.csv", folder / "weekly.csv", folder / "etth1.csv"

    def twenty_months():
        etth.write_text("".join((data / "etth" / "ETTh1.csv").read_text().splitlines(True)[:14401]))

    for name, path, apart in (("m4-hourly", hourly, False), ("m4-hourly-apart", folder / "apart.csv", True)):
        yield (name, path, lambda path=path, apart=apart: m4(data, "Hourly", path, apart),
               "--horizon 48 --season 24 --context 168 --reference mean --log --validation 48 --windows 1 --batch 128 "
               "--updates 4000 --patience 15 --rate 0.003", "patch 24 | gru 128 | quantile 0.1 0.5 0.9 last")
    yield ("m4-weekly", weekly, lambda: m4(data, "Weekly", weekly),
           "--horizon 13 --season 1 --context 52 --log --validation 13 --windows 1 --batch 128 --updates 1500 "
           "--patience 10 --rate 0.003", "patch 13 | gru 64 | quantile 0.1 0.5 0.9 last")
    for horizon in (24, 48, 96, 720):
        yield (f"etth1-{horizon}", etth, twenty_months,
               f"{ETTH} --context 336 --reference mean --horizon {horizon} --windows {2880 - horizon + 1}", "patch 336 | project 32 | linear last")
    yield ("etth1-gru-96", etth, twenty_months, f"{ETTH} --context 96 --reference last --horizon 96 --windows 2785",
           "patch 24 | gru 128 dropout 0.3 | quantile 0.5 last")
    yield ("airline", data / "series" / "airline-passengers.csv", None,
           "--horizon 12 --windows 37 --stride 1 --log", None)
    yield ("sunspots", data / "series" / "monthly-sunspots.csv", None,
           "--horizon 36 --windows 26 --season 1 --context 132 --updates 400",
           "patch 12 | gru 32 | quantile 0.1 0.5 0.9 last")
    yield ("temperature", data / "series" / "daily-min-temperatures.csv", None,
           "--gaps last --horizon 7 --windows 170 --season 1 --context 28 --reference mean", None)
    yield ("pm2.5", folder / "pollution.csv", lambda: pollution(data, folder / "pollution.csv"),
           "--missing last --unknown dew,temperature,pressure,wind --horizon 1 --stride 4 --windows 8760 --season 1 "
           "--context 24 --scale series --updates 1000", None)
    yield ("exchange", folder / "exchange.csv", lambda: exchange(data, folder / "exchange.csv"),
           "--value c1,c2,c3,c4,c5,c6,c7,c8 --prices yes --horizon 24 --windows 63 --context 48 --updates 300", None)
    for name, value in (("orcl-1995-2014", "Close"), ("yhoo-1996-2015", "Close"), ("msft-1986-2017", "Close"),
                        ("goog-2004-2013", "Close"), ("aapl-2015-2017", "AAPL.Close"), ("vix-daily", "CLOSE"),
                        ("sp500-shiller-monthly", "SP500")):
        windows = 120 if name.startswith("aapl") else 500
        yield (name, data / "stocks" / f"{name}.csv", None,
               f"--value {value} --prices yes {PRICES} --windows {windows}", None)
    yield ("signal", folder / "signal.csv", lambda: signal(folder / "signal.csv"),
           f"--value Close {PRICES} --windows 500", None)


# ---- runs ----------------------------------------------------------------------------------------------------


def backtest(program, path, options, net, seed):
    command = [program, "forecast", "backtest", str(path), *options.split(), *(["--net", net] if net else []),
               "--seed", str(seed), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)


def line(name, results, seconds):
    models = [result["methods"][0] for result in results]
    best = next(m for m in results[0]["methods"] if m["name"] == results[0]["best_baseline"])

    def mean(key, decimals):
        values = [model[key] for model in models]
        return f"{statistics.mean(values):.{decimals}f} (±{statistics.pstdev(values):.{decimals}f})"

    change = " ".join(f"{100 * result['change']:+.1f} %" for result in results)
    hits = sum(result["direction_hits"] for result in results), sum(result["directions"] for result in results)
    print(f"| {name} | {mean('mase', 3)} | {mean('smape', 2)} | {mean('rmse', 4)} | {mean('scaled_mse', 4)} | "
          f"{mean('scaled_mae', 4)} | {best['name']}: {best['mase']:.3f}, {best['smape']:.2f}, {best['rmse']:.4f}, "
          f"{best['scaled_mse']:.4f} | {change} | {' '.join(result['skill'] for result in results)} | "
          f"{mean('coverage', 3)} | {100 * hits[0] / max(1, hits[1]):.1f} % | "
          f"{sum(result['leaks'] for result in results)} | {seconds:.0f} s |", flush=True)


def many(program, folder):
    path, model = folder / "short.csv", folder / "m.safetensors"
    short_series(path)
    begin = time.monotonic()
    done = subprocess.run([program, "forecast", "train", str(path), "--horizon", "6", "--log", "--epochs", "1", "--batch", "128",
                           "--validate-every", "0", "-o", str(model), "--json"],
                          capture_output=True, text=True, check=True)
    result, peak = json.loads(done.stdout), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"10,000 series of 60 values, one model: {result['windows']} windows, {result['rows_per_s']:.0f} rows/s, "
          f"{peak:.0f} MiB at most, {time.monotonic() - begin:.1f} s in all", flush=True)


def main():
    program, data, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="carousel-forecast-") as name:
        folder = pathlib.Path(name)
        print("| case | MASE | sMAPE | RMSE | MSE/var | MAE/sd | best baseline: the same | error against it, by seed | "
              "verdict | interval held | direction | leaks | time |\n|" + "---|" * 13, flush=True)
        for case, path, make, options, net in cases(pathlib.Path(data), folder):
            if names and case not in names:
                continue
            if not path.exists():
                make()
            begin = time.monotonic()
            line(case, [backtest(program, path, options, net, seed) for seed in SEEDS], time.monotonic() - begin)
        if not names or "many" in names:
            many(program, folder)


if __name__ == "__main__":
    main()
