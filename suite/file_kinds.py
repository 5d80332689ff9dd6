"""What a file is whose content is not what its name says."""

import re

HEAD = 512
"""Bytes from the start of a file that tell what it is."""

LFS = b"version https://git-lfs.github.com/spec/"

MARKUP = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|\?xml|svg)\b", re.IGNORECASE | re.DOTALL)

SIGNATURES = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"%PDF-": "a PDF document",
}
"""First bytes of files that downloads and exports leave under other names."""


def disguise(head: bytes) -> str | None:
    """Return what a file is in truth, such as ``an HTML page``, with the way out; None if that is not known.

    Ask only about files that cannot be read as what they should be: PyTorch's weights are ZIP archives, too.

    Args:
        head: the first `HEAD` bytes of the file, or all of a shorter one.
    """
    if not head:
        return "an empty file: download or export it again"
    if head.startswith(LFS):
        return "a Git LFS pointer: run git lfs pull"
    if not any(head):
        return "a file of zeros, as a download or copy that was interrupted leaves it: get it again"
    if match := MARKUP.match(head.removeprefix(b"\xef\xbb\xbf")):
        return _markup(match[1].lower())
    if head.lstrip().startswith((b"{", b"[")) and _is_text(head):
        return "a JSON text, perhaps the answer of a server: download the file itself"
    return next((kind for start, kind in SIGNATURES.items() if head.startswith(start)), None)


def _markup(tag: bytes) -> str:
    if tag in (b"?xml", b"svg"):
        return "an XML text or SVG drawing"
    return "an HTML page, perhaps of a login or an error: download the file itself"


def _is_text(head: bytes) -> bool:
    """Return whether bytes are UTF-8 but perhaps for a last character that was cut, without control characters."""
    text = head.decode("utf-8", "ignore")
    return len(text.encode()) >= len(head) - 3 and all(letter >= " " or letter in "\t\r\n" for letter in text)
