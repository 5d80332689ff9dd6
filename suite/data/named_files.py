"""Files by their names without suffixes, as images and labels with the same names are found."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

from suite.data.walking import Listing, walk

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .avif .dds .jp2 .j2k".split()
)
"""File name extensions of images, in lower case."""

MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm"})
"""Those of masks: their formats keep values as they are."""


class NamedFiles(dict[str, Path]):
    """Files by path without suffix.

    Attributes:
        folder: where they are; None if there is no folder.
        unused: why anything else in the folder is not among them, by path.
    """

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.folder = folder
        self.unused: dict[Path, str] = {}

    def among(self, names: Collection[str]) -> "NamedFiles":
        """Return the files with these names, and nothing unused."""
        files = NamedFiles(self.folder)
        files.update((name, file) for name, file in self.items() if name in names)
        return files

    def renamed(self, rename: Callable[[str], str]) -> "NamedFiles":
        """Return the files under other names; of two that get one name, both are unused."""
        files = NamedFiles(self.folder)
        files.unused |= self.unused
        names = Counter(map(rename, self))
        for name, file in self.items():
            if names[rename(name)] == 1:
                files[rename(name)] = file
            else:
                files.unused[file] = f"another file is called {rename(name)}, too; rename or remove one of them"
        return files


def files_by_stem(folder: Path | None, suffixes: Collection[str] = IMAGE_SUFFIXES) -> NamedFiles:
    """Return files with these suffixes in a folder and its subfolders, sorted, by path without suffix; no hidden files.

    Files that differ in their suffix only are not among them, since a label of this name could belong to each.
    """
    found = NamedFiles(folder)
    listing = Listing() if folder is None else walk(folder)
    found.unused |= listing.problems
    same: dict[str, list[Path]] = defaultdict(list)
    for file in listing.files:
        if reason := wrong_suffix(file, suffixes):
            found.unused[file] = reason
        else:
            same[file.relative_to(folder or file).with_suffix("").as_posix()].append(file)
    for stem, files in same.items():
        if len(files) == 1:
            found[stem] = files[0]
        else:
            names = " and ".join(file.name for file in files)
            found.unused |= dict.fromkeys(files, f"{names} have one name; rename or remove one of them")
    return found


def wrong_suffix(file: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> str | None:
    """Return why a file is not one of those with these suffixes; None if it is."""
    suffix = file.suffix.lower()
    if suffix in suffixes:
        return None
    what = f"a file with the suffix {suffix}" if suffix else "a file without a suffix"
    return f"{what}; those that are read: {' '.join(sorted(suffixes))}"
