"""A small data set of every format, and files of weights, to be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file

import suite
from suite.data.report import DataReport
from suite.models.weights import read_state

COUNT = 12
"""Samples of a data set: enough for three splits of two classes."""

SIDE = 12
"""Height and width of an image in pixels."""

IMAGES = ("png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "pgm", "avif", "dds", "jp2")


@dataclass(frozen=True)
class Format:
    """How a data set is written and read.

    Attributes:
        build: writes it into a folder.
        read: reads all of it; returns the report, or None for weights.
        files: those that are damaged, relative to the folder.
    """

    build: Callable[[Path], None]
    read: Callable[[Path], DataReport | None]
    files: tuple[str, ...]


def built(name: str, root: Path) -> Path:
    """Write the data set of a format into a new folder and return the folder."""
    root.mkdir(parents=True)
    FORMATS[name].build(root)
    return root


def _task(call: str, root: Path) -> DataReport:
    return suite.load(call.format(root=root)).full_report()


def _write(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def _photo(file: Path, number: int, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    image = Image.fromarray(pixels)
    (image.convert("L") if file.suffix == ".pgm" else image).save(file, **options)


def _mask(file: Path, number: int, values: tuple[int, ...] = (0, 1)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    chosen = np.random.default_rng(number).integers(0, len(values), (SIDE, SIDE))
    Image.fromarray(np.array(values, np.uint8)[chosen]).save(file)


def _class_folders(suffix: str, options: dict[str, object], root: Path) -> None:
    for number in range(COUNT):
        _photo(root / "ab"[number % 2] / f"{number}.{suffix}", number, **options)


def _mask_folder(root: Path) -> None:
    for number in range(COUNT):
        _photo(root / f"images/{number}.png", number)
        _mask(root / f"masks/{number}.png", number)


def _voc(root: Path) -> None:
    things = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{at}</xmin><ymin>2</ymin>"
        f"<xmax>{at + 4}</xmax><ymax>9</ymax></bndbox></object>"
        for name, at in (("dog", 1), ("cat", 6))
    )
    for number in range(COUNT):
        _photo(root / f"JPEGImages/{number}.jpg", number)
        _mask(root / f"SegmentationClass/{number}.png", number, (0, 1, 255))
        size = f"<size><width>{SIDE}</width><height>{SIDE}</height></size>"
        _write(root / f"Annotations/{number}.xml", f'<?xml version="1.0"?><annotation>{size}{things}</annotation>')
    for part in ("Main", "Segmentation"):
        for name, chosen in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, COUNT))):
            _write(root / f"ImageSets/{part}/{name}.txt", "".join(f"{number}\n" for number in chosen))


def _coco(root: Path) -> None:
    for number in range(COUNT):
        _photo(root / f"images/{number}.png", number)
    images = [{"id": n, "file_name": f"{n}.png", "width": SIDE, "height": SIDE} for n in range(COUNT)]
    annotations = [
        {"id": 2 * n + k, "image_id": n, "category_id": k + 1, "iscrowd": 0, "bbox": [1 + 4 * k, 2, 4, 5.5]}
        for n in range(COUNT)
        for k in range(2)
    ]
    annotations[3] = {"id": 3, "image_id": 1, "category_id": 2, "segmentation": [[1, 1, 8, 1, 8, 8]]}
    categories = [{"id": 1, "name": "zebra"}, {"id": 2, "name": "ant"}]
    _write(
        root / "instances.json", json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


def _yolo(root: Path) -> None:
    for number in range(COUNT):
        _photo(root / f"images/{number}.png", number)
        _write(root / f"labels/{number}.txt", "0 0.3 0.3 0.4 0.4\n1 0.6 0.6 0.5 0.25\n0 0.1 0.1 0.9 0.1 0.5 0.9\n")
    _write(root / "data.yaml", "path: .\nnc: 2\nnames:\n  0: zebra\n  1: 'ant'\n")


def _pets(root: Path) -> None:
    for number in range(COUNT):
        _photo(root / f"images/pet_{number}.jpg", number)
        _mask(root / f"annotations/trimaps/pet_{number}.png", number, (1, 2, 3))
    for name, chosen in (("trainval", range(8)), ("test", range(8, COUNT))):
        _write(root / f"annotations/{name}.txt", "".join(f"pet_{number} 1 1 1\n" for number in chosen))


def _pedestrians(root: Path) -> None:
    for number in range(COUNT):
        _photo(root / f"PNGImages/p{number}.png", number)
        _mask(root / f"PedMasks/p{number}_mask.png", number, (0, 1, 2))


TEXTS = [f"{('an awful', 'a lovely')[n % 2]} film, number {n}, seen in the year {1950 + n}" for n in range(COUNT)]


def _table(name: str, root: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pd.DataFrame(
        {"text": TEXTS, "label": [n % 2 for n in range(COUNT)], "film": [n // 2 for n in range(COUNT)]}
    )
    file = root / name
    if name.endswith(".csv"):
        table.assign(text=[text.replace(" film", ' "film"') for text in TEXTS]).to_csv(file, index=False)
    elif name.endswith(".tsv"):
        table.to_csv(file, index=False, sep="\t")
    elif name.endswith(".jsonl"):
        table.to_json(file, orient="records", lines=True)
    else:
        arrow = pa.Table.from_pandas(table)
        features = {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}
        arrow = arrow.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        if name.endswith(".parquet"):
            pq.write_table(arrow, file)
        else:
            with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, arrow.schema) as writer:
                writer.write_table(arrow)


def _plain(root: Path) -> None:
    words = np.random.default_rng(0).integers(1000, 9999, 200)
    _write(root / "text.txt", " ".join(f"the {word}th of them" for word in words))


def _sst2(root: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        rows = "".join(f"{name[0]} {text}\t{number % 2}\n" for number, text in enumerate(TEXTS))
        _write(root / name, f"sentence\tlabel\n{rows}")


def _imdb(root: Path) -> None:
    for number, text in enumerate(TEXTS * 2):
        part, label = ("train", "test")[number // COUNT], ("neg", "pos")[number % 2]
        _write(root / part / label / f"{number}_{1 + 8 * (number % 2)}.txt", f"{part}: {text}<br />")
    for part in ("train", "test"):
        for label in ("neg", "pos"):
            _write(root / part / f"urls_{label}.txt", "".join(f"http://films/tt{n}/\n" for n in range(2 * COUNT)))


def _weights(name: str, root: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    file, state = root / name, module.state_dict()
    if name.endswith(".safetensors"):
        save_file(state, file)
    elif name == "old.pt":
        torch.save(state, file, _use_new_zipfile_serialization=False)
    else:
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, file)


def _tensors(name: str, root: Path) -> None:
    read_state(root / name)


def _of_weights(name: str) -> Format:
    return Format(partial(_weights, name), partial(_tensors, name), (name,))


def _of_table(name: str) -> Format:
    return Format(partial(_table, name), partial(_task, "texttable(path='{root}/" + name + "', group=film)"), (name,))


def _of_images(suffix: str, **options: object) -> Format:
    files = tuple(f"{'ab'[number % 2]}/{number}.{suffix}" for number in (0, 1, 2))
    return Format(partial(_class_folders, suffix, options), partial(_task, "imagefolder(path='{root}', size=8)"), files)


def _of_folder(build: Callable[[Path], None], call: str, *files: str) -> Format:
    return Format(build, partial(_task, call), files)


TURNED = Image.Exif()
TURNED.update({0x0112: 6, 0x0128: 2, 0x010F: "a camera", 0x011A: 72.0})  # orientation, unit, make, resolution

FORMATS = {
    **{suffix: _of_images(suffix) for suffix in IMAGES},
    "jpg with EXIF": _of_images("jpg", exif=TURNED),
    "maskfolder": _of_folder(_mask_folder, "maskfolder(path='{root}', classes=[b, f])", "masks/0.png", "images/1.png"),
    "voc": _of_folder(
        _voc,
        "voc(path='{root}', classes=[dog, cat])",
        "Annotations/0.xml",
        "Annotations/9.xml",
        "ImageSets/Main/val.txt",
    ),
    "voc masks": _of_folder(
        _voc, "voc_segmentation(path='{root}')", "SegmentationClass/9.png", "ImageSets/Segmentation/test.txt"
    ),
    "coco": _of_folder(_coco, "coco(path='{root}')", "instances.json"),
    "yolo": _of_folder(_yolo, "yolo(path='{root}')", "labels/0.txt", "labels/1.txt", "data.yaml"),
    "pets": _of_folder(_pets, "pets(path='{root}')", "annotations/trimaps/pet_9.png", "annotations/test.txt"),
    "pedestrians": _of_folder(_pedestrians, "pennfudan(path='{root}')", "PedMasks/p0_mask.png", "PNGImages/p1.png"),
    **{name: _of_table(name) for name in ("t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.arrow")},
    "plain text": _of_folder(_plain, "textfile(path='{root}/text.txt', context=16, scored=16)", "text.txt"),
    "sst2": _of_folder(_sst2, "sst2(path='{root}')", "train.tsv", "dev.tsv"),
    "imdb": _of_folder(_imdb, "imdb(path='{root}')", "train/neg/0_1.txt", "test/urls_pos.txt"),
    **{name: _of_weights(name) for name in ("new.pt", "old.pt", "w.safetensors")},
}
