"""Reports in a real browser: headless chromium shows them, in light and dark, without a word on its console.

Only with CAROUSEL_LONG_TESTS=1 (./start test --long, which installs chromium)."""
import os
import pathlib
import re
import shutil
import subprocess

from harness import Skip, expect, main, ok, write

HOSTILE = 'The <script>alert("x")</script> & cat\' "sat" ]]> <img src=x onerror=1> on {mat}.\n'
DARK = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")


def browse(page, *options):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not os.environ.get("CAROUSEL_LONG_TESTS"):
        raise Skip("CAROUSEL_LONG_TESTS is not set")
    if not chromium:
        raise Skip("no chromium here")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
               "--user-data-dir=" + os.path.abspath("profile"), "--enable-logging=stderr", "--window-size=1000,2000",
               *options, pathlib.Path(page).resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def shows(page, text):
    """The page's own document, as the browser has it, holds `text`; its console stays empty; it can be painted."""
    found = browse(page, "--dump-dom")
    expect(found.returncode == 0, f"{page}: {found.stderr[-500:]}")
    console = [line for line in found.stderr.splitlines() if "CONSOLE" in line]
    expect(not console, f"{page}: on the console: {console}")
    plain = re.sub(r"<[^>]*>", " ", found.stdout)
    expect(text in plain, f"{page}: {text} is not there")
    expect("<script" not in found.stdout and "onerror=1>" not in re.sub(r"&[a-z]+;", "", found.stdout), f"{page}: markup")
    sizes = []
    for mode in ((), DARK):
        browse(page, f"--screenshot={os.path.abspath('page.png')}", *mode)
        sizes.append(pathlib.Path("page.png").read_bytes())
    expect(min(map(len, sizes)) > 10000 and sizes[0] != sizes[1], f"{page}: light and dark are the same picture")


def test_the_console_is_heard():
    """The check itself: a page that breaks its own rules is noticed."""
    write("bad.html", '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'"><script>1</script>')
    found = browse("bad.html", "--dump-dom")
    expect("CONSOLE" in found.stderr, f"nothing was said: {found.stderr[-300:]}")


def test_inspect():
    write("book.txt", HOSTILE * 200)
    ok("lm", "train", "book.txt", "-o", "m.safetensors", "--level", "byte", "--hidden", "16", "--updates", "20")
    for language, word in (("en", "Units that follow the text"), ("zh", "跟随文本的单元")):
        ok("inspect", "m.safetensors", "book.txt", "--unit", "2.h.3", "--report", "r.html", "--lang", language)
        shows("r.html", word)


def test_inspect_a_classifier():
    rows = [f"{i},{t},{(t * (1 + i % 2)) % 7},<{i % 2}>" for i in range(12) for t in range(9)]
    write("<i>data.csv", "id,step,x,label\n" + "\n".join(rows) + "\n")
    for direction, word in (("forward", "The loss of the last class"), ("both", "reads from both ends")):
        ok("classify", "train", "<i>data.csv", "-o", "c.safetensors", "--hidden", "8", "--updates", "5", "--direction", direction)
        ok("inspect", "c.safetensors", "<i>data.csv", "--report", "r.html")
        shows("r.html", word)


def test_probe():
    ok("probe", "agreement", "--cell", "lstm,rnn", "--distance", "5,10", "--seeds", "2", "--updates", "20", "--hidden", "4",
       "--report", "r.html")
    shows("r.html", "Which cell learns it")


def test_story():
    for language, word in (("en", "measured again"), ("zh", "重新测量")):
        ok("story", "--seeds", "2", "--updates", "20", "--report", "r.html", "--lang", language, "-o", "kept")
        shows("r.html", word)


if __name__ == "__main__":
    main(globals())
