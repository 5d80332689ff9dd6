"""What reaches a terminal besides boards and progress: single lines, errors and warnings, without control characters.

Names and messages come from files, models and libraries; a terminal would obey control sequences in them.
"""

import argparse
import io
import logging
import sys
import warnings
from typing import NoReturn, TextIO

from suite.escaping import escaped, escaped_name


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors quote what was typed without its control characters."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit with status 2."""
        super().error(escaped_name(message))


def say(text: str, to: TextIO | None = None) -> None:
    """Print a text on one line, to standard output by default."""
    print(escaped_name(text), file=to or sys.stdout, flush=True)


def say_lines(text: str, to: TextIO) -> None:
    """Print a text of one or more lines, such as a traceback."""
    print(escaped(text.rstrip("\n")), file=to, flush=True)


def prepare() -> None:
    """Escape the warnings and log messages of libraries too, and characters that the terminal's encoding lacks."""
    warnings.formatwarning = _format_warning
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Escaping())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Escaping(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


_original_format = warnings.formatwarning


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return escaped(_original_format(message, category, filename, lineno, line))
