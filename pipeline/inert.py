"""Text from data, made harmless for a terminal."""

from __future__ import annotations

MAX_SHOWN = 60


def inert(text: str) -> str:
    r"""Return the text with everything that does not print written out; line ends stay.

    >>> inert("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def shorten(text: str) -> str:
    """Return one harmless line of bounded length."""
    line = inert(text).replace("\n", "\\n")
    return line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "…"
