"""`carousel search` as a user runs it: comparing cells, studies in SQLite, killed workers, and every bad input with its exit code."""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

from harness import CAROUSEL, Skip, expect, main, matches, ok, refused, run, write

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


# ---- Studies -------------------------------------------------------------------------------------------------------------

TINY = ("--settings", "2", "--first-settings", "3", "--updates", "12", "--weights", "500", "--batch", "4", "--unroll", "6",
        "--checks", "2", "--memory-letters", "2", "--memory-updates", "12", "--memory-least", "0.01", "--least", "0.5")


def need_sqlite():
    if "without SQLite" in run("search", "status", "none.db").err:
        raise Skip("built without SQLite")


def start(place, trials, *more):
    ok("search", "start", place, "--task", "arithmetic@2", "--task", "xml", *TINY, "--trials", trials, *more)


def exported(place, *more):
    return json.loads(ok("search", "export", place, *more).out)


def same_bits(found):
    """What must be the same when a study is repeated: all but times and how often a trial was begun."""
    for trial in found["trials"]:
        for key in ("seconds", "finished", "tries", "fence"):
            del trial[key]
    return found


def check_complete(found, trials):
    """Nothing lost, nothing doubled: every trial is done once, with the results that its end stands for."""
    expect(len(found["trials"]) == trials, f"{len(found['trials'])} trials, not {trials}")
    expect([trial["trial"] for trial in found["trials"]] == list(range(1, trials + 1)), "numbers are missing")
    for trial in found["trials"]:
        expect(trial["state"] == "done", trial)
        tasks = [result["task"] for result in trial["results"]]
        expect(len(tasks) == len(set(tasks)), f"doubled: {tasks}")
        if trial["ended"] == "given up":
            expect(not tasks and trial["tries"] == 3, trial)
            continue
        wanted = {"memory": ["memory"], "arithmetic@2": ["arithmetic@2"], "xml": ["arithmetic@2", "xml"],
                  "finished": ["arithmetic@2", "xml"]}[trial["ended"]]
        if trial["proposal"]["memory"]:
            wanted = sorted({"memory", *wanted})
        expect(sorted(tasks) == wanted, trial)


def worker(place, *more, **options):
    return subprocess.Popen([CAROUSEL, "search", "work", place, *map(str, more)], stderr=subprocess.DEVNULL, **options)


def test_study():
    need_sqlite()
    start("a.db", 14)
    found = json.loads(ok("search", "status", "a.db", "--json").out)
    expect(found["trials"] == 14 and found["waiting"] == 2 and found["done"] == 0, found)
    told = ok("search", "work", "a.db", "--trials", "1").err
    matches(r"^trial 1, seed: arithmetic@2 [\d.]+ %, xml [\d.]+ % \([\d.]+ s\)$", told, "work")
    told = ok("search", "work", "a.db").err
    matches(r"^13 trials done by this worker$", told, "work")
    ok("search", "status", "a.db", out=r"^trials +14 of 14 done, 0 running, 0 waiting, 0 failed$")
    top = json.loads(ok("search", "top", "a.db", "--json").out)
    scores = [cell["score"] for cell in top]
    expect(scores == sorted(scores, reverse=True) and len(scores) >= 2, scores)
    expect([cell["score"] for cell in top if cell["name"] == "gru-v1"] == [1], "the tuned GRU is what others are compared with")
    expect(all(min(task["ratio"] for task in cell["tasks"].values()) == cell["score"] for cell in top), top)
    ok("search", "top", "a.db", out=r"^ +1  \S+ +\d\.\d{4} ")
    text = ok("search", "show", "a.db", "1", out=r"^cell ").out
    ok("cell", "check", "-", stdin=text)
    shown = json.loads(ok("search", "show", "a.db", top[0]["name"], "--json").out)
    expect(shown == top[0], shown)
    found = exported("a.db")
    check_complete(found, 14)
    kinds = {trial["kind"] for trial in found["trials"]}
    expect(kinds == {"seed", "mutation", "again"}, kinds)
    expect(ok("search", "work", "a.db").err.count("trial ") == 0, "work on a study that has ended")


def test_study_repeats():
    """One worker: the same study bit for bit, also when it is interrupted and killed on the way."""
    need_sqlite()
    start("a.db", 12)
    ok("search", "work", "a.db")
    start("b.db", 12)
    chance = random.Random(3)
    for how in [signal.SIGTERM, signal.SIGKILL] * 4:
        process = worker("b.db")
        time.sleep(chance.uniform(0.01, 0.15))
        process.send_signal(how)
        code = process.wait(60)
        expect(code in (-9, -15, 143, 0), code)  # -15: before it listened
    ok("search", "work", "b.db")
    first, second = exported("a.db"), exported("b.db")
    check_complete(second, 12)
    expect(same_bits(first) == same_bits(second), "the same seed, another study")
    start("c.db", 12, "--seed", "2")
    ok("search", "work", "c.db")
    expect(same_bits(exported("c.db"))["trials"] != first["trials"], "another seed, the same study")


def test_interrupted_trial_is_given_back():
    need_sqlite()
    ok("search", "start", "a.db", "--task", "xml", "--updates", "1000000", "--trials", "2")
    process = worker("a.db")
    deadline = time.monotonic() + 30
    while json.loads(ok("search", "status", "a.db", "--json").out)["running"] == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    ok("search", "status", "a.db", out=r"^running +trial 1, gru-v1, by \S+ \S+ \d+, lease \d+ s, try 1$")
    process.send_signal(signal.SIGTERM)
    expect(process.wait(30) == 143, "exit code of an interrupted worker")
    trial = exported("a.db")["trials"][0]
    expect(trial["state"] == "waiting" and trial["tries"] == 0, trial)


def torture(place, trials, workers, seconds, *, restart=None, name=()):
    """Kills workers at random until the study has ended; `restart` is called twice on the way. The first trial is done before:
    killed three times, it would end the study, since all are measured by it."""
    ok("search", "work", place, "--trials", "1", *name)
    chance, began, kills = random.Random(5), time.monotonic(), 0
    crew = [worker(place, "--lease", "2", *name) for _ in range(workers)]
    restarts = [0.3, 0.6] if restart else []
    while any(process.poll() is None for process in crew):
        time.sleep(chance.uniform(0.02, 0.12))
        spent = (time.monotonic() - began) / seconds
        if restarts and spent > restarts[0]:
            restarts.pop(0)
            restart()
        if spent < 1:
            place_of = chance.randrange(workers)
            crew[place_of].kill()
            crew[place_of].wait()
            kills += 1
            crew[place_of] = worker(place, "--lease", "2", *name)
        expect(spent < 1 or time.monotonic() - began < seconds + 120, "the workers do not end")
    found = exported(place, *name)
    check_complete(found, trials)
    return kills, found


def test_killed_workers_sqlite():
    need_sqlite()
    long = os.environ.get("CAROUSEL_LONG_TESTS") == "1"
    trials, seconds = (1500, 90) if long else (60, 4)
    start("a.db", trials)
    kills, found = torture("a.db", trials, 2, seconds)
    expect(kills >= 10, f"only {kills} kills")
    given_up = sum(trial["ended"] == "given up" for trial in found["trials"])
    print(f"        {kills} kills, {trials} trials, {given_up} given up after three kills")


def test_study_refuses():
    need_sqlite()
    start("a.db", 4)
    refused(2, "has a study called search; .*--name", "search", "start", "a.db", "--task", "xml")
    start("a.db", 4, "--name", "other")
    refused(2, "no study called none.*one of: other, search", "search", "work", "a.db", "--name", "none")
    refused(5, "search start", "search", "status", "none.db")
    refused(5, "words.txt", "search", "start", "b.db", "--task", "words:words.txt")
    expect(not pathlib.Path("b.db").exists(), "a study without its file")
    write("bad.cell", "cell bad(x) -> h\nstate h\nh' = tanh(W@x\n")
    refused(3, "bad.cell", "search", "start", "b.db", "--task", "xml", "--cell", "./bad.cell")
    refused(2, "same cell", "search", "start", "b.db", "--task", "xml", "--cell", "lstm")
    expect(not pathlib.Path("b.db").exists(), "a study without its cell")
    refused(2, "no cell m1", "search", "show", "a.db", "m1")
    write("letter.txt", "Dear aunt, " * 100)
    refused(3, "no database", "search", "work", "letter.txt")
    expect(pathlib.Path("letter.txt").read_text() == "Dear aunt, " * 100, "the letter was written to")
    with sqlite3.connect("foreign.db") as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    before = pathlib.Path("foreign.db").read_bytes()
    refused(3, "another program", "search", "start", "foreign.db", "--task", "xml")
    expect(pathlib.Path("foreign.db").read_bytes() == before, "another program's database was written to")
    with sqlite3.connect("a.db") as ours:
        ours.execute("UPDATE carousel_schema SET version = 0")
    refused(3, "version 0", "search", "work", "a.db")


def test_task_file_gone():
    need_sqlite()
    write("words.txt", "the cat sat on the mat\nthe dog ran\n" * 60)
    ok("search", "start", "a.db", "--task", "words:words.txt", *TINY, "--trials", "3")
    os.rename("words.txt", "gone.txt")
    refused(5, "words.txt", "search", "work", "a.db")
    os.rename("gone.txt", "words.txt")
    ok("search", "work", "a.db")


def test_full_disk():
    """Nothing stored is lost, and the study goes on when there is room again."""
    need_sqlite()
    start("a.db", 200)
    ok("search", "work", "a.db", "--trials", "4")
    limit = os.path.getsize("a.db") + os.path.getsize("a.db-wal") if os.path.exists("a.db-wal") else os.path.getsize("a.db")
    script = f"trap '' XFSZ; ulimit -f {limit // 1024 + 40}; exec \"$0\" search work a.db"
    result = subprocess.run(["bash", "-c", script, CAROUSEL], capture_output=True, text=True, timeout=100, check=False)
    expect(result.returncode == 5, f"exit {result.returncode}\n{result.stderr[-2000:]}")
    done = json.loads(ok("search", "status", "a.db", "--json").out)["done"]
    expect(4 <= done < 200, done)
    ok("search", "work", "a.db", "--trials", "4")
    expect(json.loads(ok("search", "status", "a.db", "--json").out)["done"] == done + 4, "the study does not go on")


# ---- Driven by another program, and as a page ----------------------------------------------------------------------------

def ask(place):
    return json.loads(ok("search", "ask", place).out)


def tell(place, *lines):
    return [json.loads(line) for line in ok("search", "tell", place, stdin="".join(json.dumps(line) + "\n" for line in lines))
            .out.splitlines()]


def test_ask_and_tell():
    need_sqlite()
    start("a.db", 6)
    first, second = ask("a.db"), ask("a.db")
    expect((first["trial"], second["trial"]) == (1, 2) and "cell gru-v1(x)" in first["cell"], first)
    expect(len(first["proposal"]["settings"]) == 2, first)
    expect(ask("a.db") == {"trial": None, "ended": False}, "a third trial before the first has come to something")
    good = {"arithmetic@2": {"accuracy": 0.5}, "xml": {"accuracy": 0.25, "nats": 2.5, "updates": 7}}
    answers = tell("a.db", {"trial": 1, "fence": first["fence"], "results": good},
                   {"trial": 2, "fence": second["fence"], "back": True}, {"trial": 1, "fence": 9, "results": good})
    expect(answers == [{"trial": 1, "counted": True}, {"trial": 2, "back": True}, {"trial": 1, "counted": False}], answers)
    again = ask("a.db")
    expect(again["trial"] == 2 and again["fence"] == second["fence"] + 1, again)
    expect(tell("a.db", {"trial": 2, "fence": again["fence"], "failed": "no reason"}) == [{"trial": 2, "counted": True}], "failed")
    mine = ok("cell", "show", "mut1").out
    setting = {"scale": 1, "rate": 0.5, "clip": 5, "layers": 1}
    queued = tell("a.db", {"cell": mine, "settings": [[setting], [setting, {**setting, "rate": 1}]]}, {"cell": mine})
    expect(queued == [{"trial": 3, "queued": True}, {"trial": 4, "queued": True}], queued)
    ok("search", "work", "a.db")
    found = exported("a.db")
    expect([trial["kind"] for trial in found["trials"]][:4] == ["seed", "seed", "told", "told"], found["trials"])
    expect(found["trials"][2]["proposal"]["settings"][1][1]["rate"] == 1, found["trials"][2])
    expect(found["trials"][0]["results"][1]["nats"] == 2.5 and found["trials"][1]["ended"] == "failed", found["trials"][:2])
    expect(ask("a.db") == {"trial": None, "ended": True}, "more trials than the study has")


def test_tell_refuses():
    need_sqlite()
    start("a.db", 4)
    trial = ask("a.db")
    for words, line in (("line 1", "{"), ("fence", '{"trial":1}'), ("missing", '{"trial":1,"fence":1,"results":{}}'),
                        ("accuracy", '{"trial":1,"fence":1,"results":{"arithmetic@2":{},"xml":{}}}'),
                        ("no trial 99", '{"trial":99,"fence":1,"back":true}'), ("text of a cell", '{"cell":3}'),
                        ("told cell", '{"cell":"cell bad"}'),
                        ("setting", json.dumps({"cell": ok("cell", "show", "mut1").out, "settings": [[{}], [{}]]}))):
        refused(3, words, "search", "tell", "a.db", stdin=line + "\n")
    result = run("search", "tell", "a.db", stdin=json.dumps({"trial": 1, "fence": trial["fence"], "back": True}) + "\n{\n")
    expect(result.code == 3 and json.loads(result.out) == {"trial": 1, "back": True}, "the line before a wrong one does not stand")
    expect(len(exported("a.db")["trials"]) == 2, "a refused cell was queued")


def test_report():
    need_sqlite()
    start("a.db", 12)
    ok("search", "report", "a.db", "-o", "empty.html")  # before anything has been tried
    ok("search", "work", "a.db")
    ok("search", "report", "a.db", "-o", "a.html", "--seeds", "2")
    page = pathlib.Path("a.html").read_text(encoding="utf-8")
    best = json.loads(ok("search", "top", "a.db", "--json").out)[0]
    expect(best["name"] in page and "state h" in page and "<script" not in page, "the page")
    for words in ("How it went", "Who came from whom", "The best cells", "What the gates are worth", "Accuracy lost without each gate"):
        expect(words in page, words)
    refused(5, "none/", "search", "report", "a.db", "-o", "none/a.html", "--seeds", "0")


def test_halving_trains_less():
    found = {}
    for halving in ((), ("--halving",)):
        result = json.loads(ok("search", "compare", "gru-v1", "--task", "xml", "--settings", "8", "--updates", "40", "--weights",
                               "600", "--batch", "4", "--unroll", "6", "--checks", "2", "--seeds", "1", "--json", *halving).out)
        found[len(halving)] = result["results"][0]
    expect(found[0]["updates"] == 8 * 40 and found[1]["updates"] == 8 * 10 + 4 * 10 + 2 * 20, found)


# ---- PostgreSQL ----------------------------------------------------------------------------------------------------------

class Postgres:
    """A server of the test's own: data folder, port, an account that is not root."""

    def __init__(self):
        binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        found = shutil.which("initdb") or (binaries and str(binaries[-1]))
        if not found:
            raise Skip("no PostgreSQL server here (Debian: postgresql)")
        self.bin = pathlib.Path(found).parent
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="carousel-postgres-"))
        self.account = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        if self.account:
            try:
                shutil.chown(self.folder, **self.account)
            except LookupError as error:
                raise Skip("root, and no account nobody") from error
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgres://carousel@127.0.0.1:{self.port}/postgres"
        self.call("initdb", "-D", self.folder / "data", "-A", "trust", "-U", "carousel", "--no-sync")
        self.control("start")

    def call(self, program, *arguments):
        done = subprocess.run([self.bin / program, *map(str, arguments)], cwd=self.folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
                              env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, **self.account)
        expect(done.returncode == 0, f"{program} {arguments}: {done.stdout[-2000:]}")

    def control(self, verb, *more):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.call("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", options, *more, verb)

    def restart(self):
        self.control("restart", "-m", "immediate")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if (self.folder / "data" / "postmaster.pid").exists():
            self.control("stop", "-m", "immediate")
        shutil.rmtree(self.folder, ignore_errors=True)


def need_postgres():
    if "without PostgreSQL" in run("search", "status", "postgres://nowhere.invalid/x").err:
        raise Skip("built without PostgreSQL")
    return Postgres()


def test_postgres_study():
    """The same study as in SQLite, bit for bit; refusals."""
    with need_postgres() as server:
        refused(3, "holds no study", "search", "status", server.url)
        start(server.url, 10)
        refused(2, "has a study called search", "search", "start", server.url, "--task", "xml")
        ok("search", "work", server.url)
        found = exported(server.url)
        check_complete(found, 10)
        ok("search", "status", server.url, out=r"^trials +10 of 10 done")
        if "without SQLite" not in run("search", "status", "none.db").err:
            start("a.db", 10)
            ok("search", "work", "a.db")
            expect(same_bits(found) == same_bits(exported("a.db")), "PostgreSQL and SQLite differ")
        start(server.url, 150, "--name", "second", "--seed", "2")
        process = worker(server.url, "--name", "second", "--lease", "5")
        while json.loads(ok("search", "status", server.url, "--name", "second", "--json").out)["done"] == 0:
            expect(process.poll() is None, "the worker ended early")
        server.control("stop", "-m", "fast")
        time.sleep(1)
        expect(process.poll() is None, "the worker does not wait for a database that is away")
        server.control("start")
        expect(process.wait(60) == 0, "the worker did not go on")
        check_complete(exported(server.url, "--name", "second"), 150)
        server.control("stop", "-m", "fast")
        refused(5, "postgres://127.0.0.1", "search", "status", server.url)
        refused(5, "postgres://127.0.0.1", "search", "work", server.url, "--patience", "0.1")
        process = worker(server.url)
        time.sleep(1)
        expect(process.poll() is None, "the worker does not wait for a database that is not there yet")
        server.control("start")
        expect(process.wait(60) == 0, "the worker did not begin")


def test_killed_workers_postgres():
    with need_postgres() as server:
        long = os.environ.get("CAROUSEL_LONG_TESTS") == "1"
        trials, seconds, workers = (1500, 90, 8) if long else (80, 5, 4)
        start(server.url, trials)
        kills, found = torture(server.url, trials, workers, seconds, restart=server.restart)
        given_up = sum(trial["ended"] == "given up" for trial in found["trials"])
        print(f"        {kills} kills, 2 restarts, {workers} workers, {trials} trials, {given_up} given up")


if __name__ == "__main__":
    main(globals())
