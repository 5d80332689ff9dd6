"""Text from files, as it can be stored, printed and read without harm."""

import re

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]",
)
"""Control characters but tabs and line feeds, marks that change the direction of writing, and unpaired surrogates."""

SMUGGLED_BYTES = range(0xDC80, 0xDD00)
"""Surrogates by which Python stands for bytes of a file's name that are not UTF-8."""


def escaped(text: str) -> str:
    r"""Return a text in which control characters, directional marks and surrogates are backslash escapes.

    A terminal would obey control sequences, marks of direction can make a name look like another one, and unpaired
    surrogates cannot be stored. Bytes of a file's name that are not UTF-8 become ``\xNN``.
    """
    return UNSAFE.sub(_escape, text)


def escaped_name(text: str) -> str:
    """Return a name on one line: like `escaped`, with tabs and line feeds as backslash escapes too."""
    return escaped(text).replace("\t", "\\t").replace("\n", "\\n")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code in SMUGGLED_BYTES:
        code -= SMUGGLED_BYTES.start - 0x80
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
