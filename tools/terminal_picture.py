#!/usr/bin/env python3
"""Runs a command on a terminal of its own and draws what stands there at the end as an SVG.

    tools/terminal_picture.py docs/img/demo.svg './start demo' -- build/cli/carousel demo

The text after the file name is the command as the picture shows it; what follows -- is what is run.
"""
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from xml.sax.saxutils import escape

COLUMNS, ROWS = 100, 50
SIZE, ADVANCE, LINE, MARGIN = 14, 8.43, 18, 16
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def run(command):
    """The bytes that the command wrote to its terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm", LANG="C.UTF-8", LC_ALL="C.UTF-8")
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    data = bytearray()
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:
            break
        if not block:
            break
        data += block
    os.waitpid(child, 0)
    return bytes(data)


def screen(data):
    """The lines that stand at the end: a carriage return starts its line anew."""
    lines = []
    for line in data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
        line = ESCAPES.sub("", line.replace("\x1b[K", ""))
        line = line.split("\r")[-1]
        line = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "?", line.expandtabs(8))
        lines += [line[i:i + COLUMNS] for i in range(0, max(len(line), 1), COLUMNS)]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def draw(lines):
    width = round(COLUMNS * ADVANCE + 2 * MARGIN)
    height = len(lines) * LINE + 2 * MARGIN
    rows = "\n".join(f'<text x="{MARGIN}" y="{MARGIN + LINE * (i + 1) - 5}" xml:space="preserve"'
                     f'{" class=" + chr(34) + "p" + chr(34) if line.startswith("$ ") else ""}>{escape(line)}</text>'
                     for i, line in enumerate(lines) if line.strip())
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<style>text {{ font: {SIZE}px "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d8dee9 }} .p {{ fill: #a3be8c }}</style>
<rect width="100%" height="100%" rx="8" fill="#1d232e"/>
{rows}
</svg>
"""


def main():
    mark = sys.argv.index("--")
    path, shown = sys.argv[1:mark]
    lines = [f"$ {shown}", *screen(run(sys.argv[mark + 1:]))]
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(draw(lines))


if __name__ == "__main__":
    main()
