r"""Text out of the data, made harmless for whatever reads it.

Whoever delivers raw files chooses the names of columns and files, and the cells. What is printed
of them must not steer a terminal by escapes, forge lines of a log, or be a command to the CI runner
that reads the log: a line that starts with `::error::` (GitHub), or has `##[error]` (GitHub) or
`##vso[task.setvariable]` (Azure) anywhere.
"""

from __future__ import annotations

MAX_SHOWN = 60


def inert(text: str) -> str:
    r"""Return the text with everything that does not print written out; line ends stay.

    >>> inert("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Return the text as `inert` does, with line ends written out, too."""
    return inert(text).replace("\n", "\\n")


def shorten(text: str) -> str:
    """Return one harmless line of bounded length."""
    line = one_line(text)
    return line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "…"


def harmless_for_logs(text: str) -> str:
    r"""Return inert text that no CI runner takes for a command, wherever a line is folded.

    >>> harmless_for_logs("::error::, ###[error]")
    '\\x3a\\x3aerror\\x3a\\x3a, \\x23\\x23#[error]'
    """
    return inert(text).replace("::", r"\x3a\x3a").replace("##", r"\x23\x23")


def harmless_json(text: str) -> str:
    r"""Return JSON of the same value that no CI runner takes for a command.

    At the start of its lines there are blanks, brackets and quotes, and never `::`.

    >>> harmless_json('"##[error]"')
    '"\\u0023\\u0023[error]"'
    """
    return text.replace("##", r"\u0023\u0023")
