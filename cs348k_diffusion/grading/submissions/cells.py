"""A cell as Python: what Jupyter would run, with magics and shell lines as calls that are never made.

A cell that is Python already stays as it is. Prompts and common indentation are taken off; lines with magics are
translated one by one, which takes time in proportion to their number; what is odd goes through IPython's transformer.
"""

from __future__ import annotations

import ast
import re
import warnings

from cs348k_diffusion.grading.submissions.files import MAX_CELL

HARMLESS = ("time", "capture", "prun", "timeit")  # cell magics whose body is ordinary code
MANY = 50  # lines with magics; IPython's transformer reads a cell anew for each
PROMPT = re.compile(r"^(>>>|\.\.\.|In \[\d+\]:|\s*\.{3,}:)( |$)")
LINE = re.compile(r"^(?P<indent>[ \t]*)(?P<escape>%%?|!!?|\?\??)(?P<rest>\S.*)$")
ASSIGNED = re.compile(r"^(?P<target>[ \t]*[\w.,()\[\] *]+?)\s*=\s*(?P<escape>[!%])(?P<rest>\S.*)$")
HELP = re.compile(r"^(?P<indent>[ \t]*)%{0,2}[\w.*]+(\[.*\])?\?\??\s*$")
CALLS = {"%": "run_line_magic", "!": "getoutput"}


class SkipCell(Exception):
    """Why a cell was not read."""


def python_of(text: str) -> str:
    """A cell's text as Python; it need not parse. Raises SkipCell for a cell that is another language, or too long."""
    if len(text) > MAX_CELL:
        raise SkipCell(f"is longer than {MAX_CELL} characters")
    if parses(text):
        return text
    text = _without_prompts(text)
    if text.startswith("%%"):
        first, _, rest = text.partition("\n")
        if (first[2:].split() or [""])[0] not in HARMLESS:
            raise SkipCell(f"starts with {first[:20]}, which is not Python,")
        return python_of(rest)
    plain = "\n".join(_plain_lines(text))
    return plain if parses(plain) or plain.count("get_ipython()") > MANY else _by_ipython(text)


def parses(text: str) -> bool:
    """Whether the text is Python."""
    try:
        parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def parsed(text: str) -> ast.Module:
    """The syntax tree of a cell, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _without_prompts(text: str) -> str:
    """Without empty first lines, the indentation of the first line, and the prompts of a pasted session."""
    lines = text.split("\n")
    start = next((i for i, line in enumerate(lines) if line.strip()), 0)
    lines = lines[start:]
    indent = re.match(r"[ \t]*", lines[0])
    width = len(indent[0]) if indent else 0
    lines = [line[width:] if line[:width] == lines[0][:width] else line for line in lines]
    if PROMPT.match(lines[0]):
        lines = [PROMPT.sub("", line) for line in lines]
    return "\n".join(lines)


def _plain_lines(text: str) -> list[str]:
    """The lines, each magic as a call; one that ends in a backslash goes on in the next."""
    lines, joined = [], ""
    for line in text.split("\n"):
        joined += line
        if (LINE.match(joined) or ASSIGNED.match(joined)) and joined.endswith("\\"):
            joined = joined[:-1]
            continue
        lines.append(_plain_line(joined))
        joined = ""
    return [*lines, *([joined] if joined else [])]


def _plain_line(line: str) -> str:
    if HELP.match(line):
        return line[: len(line) - len(line.lstrip())] + "get_ipython()"
    if match := LINE.match(line):
        return f"{match['indent']}get_ipython().run({match['escape'] + match['rest']!r})"
    if match := ASSIGNED.match(line):
        return f"{match['target']} = get_ipython().{CALLS[match['escape']]}({match['rest']!r})"
    return line


def _by_ipython(text: str) -> str:
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return TransformerManager().transform_cell(text)
    except Exception:  # the transformer is not made for everything a cell may hold
        return text
