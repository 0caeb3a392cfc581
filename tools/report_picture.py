#!/usr/bin/env python3
"""One picture out of an HTML report, as an SVG file of its own.

    tools/report_picture.py story.html "How far each cell reads" docs/img/story-reach.svg

The words are the picture's title. The colours, for light and dark readers, come along from the page.
"""
import pathlib
import re
import sys


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    page = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    colors = style[style.rindex("text{font-family"):]
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        title = re.search(r"<title>(.*?)</title>", svg, re.DOTALL)
        if title and title.group(1) == sys.argv[2]:
            used = set(re.findall(r'class="([^"]*)"', svg))
            names = {"." + word for classes in used for word in classes.split()} | {".f-paper"}
            kept = re.sub(r"(\.[fl]-[\w-]+)\{[^}]*\}", lambda rule: rule.group() if rule.group(1) in names else "", colors)
            head = svg[:svg.index(">") + 1]
            if "xmlns" not in head:
                head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
            body = svg[svg.index(">") + 1:]
            paper = '<rect width="100%" height="100%" rx="8" class="f-paper"/>'
            end = body.index("</title>") + len("</title>")
            text = f"{head}{body[:end]}\n<style>{kept.strip()}</style>\n{paper}{body[end:]}\n"
            pathlib.Path(sys.argv[3]).write_text(text, encoding="utf-8")
            return
    sys.exit(f"{sys.argv[1]}: no picture with the title {sys.argv[2]}")


if __name__ == "__main__":
    main()
