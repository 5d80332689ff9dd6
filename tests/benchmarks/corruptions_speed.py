"""Common corruptions compared with the package imagecorruptions: throughput at 224 pixels, accuracies at 64.

    python -m tests.benchmarks.corruptions_speed --reference PYTHON

PYTHON is an interpreter whose environment has imagecorruptions 1.1.2, numpy below 2, opencv-python-headless,
scikit-image, scipy and setuptools below 81; the package does not run with newer versions. Names that scipy and
scikit-image have removed since are restored for it. Times are processor times on one thread, the minimum over several
runs, on the same 16 images of 224 pixels. Accuracies are those of a small network, trained in a minute on digits pasted
onto crops of two photos. The table is written to tests/benchmarks/results/corruptions.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NAMES = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
SEVERITIES = (1, 2, 3, 4, 5)
SLOW = "glass_blur"
"""Takes half a second per image of 224 pixels in the reference, so it is run on fewer images."""

FEWER = 400
RESULTS = Path(__file__).parent / "results" / "corruptions.md"


def minimum_time(function, runs):
    """Return the minimum processor time of several runs in seconds."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def load_reference():
    """Import the package after restoring the names that its dependencies have removed."""
    import types

    import scipy.ndimage
    import skimage.filters

    old = types.ModuleType("scipy.ndimage.interpolation")
    old.map_coordinates = scipy.ndimage.map_coordinates
    sys.modules["scipy.ndimage.interpolation"] = old
    gaussian = skimage.filters.gaussian

    def as_before(image, sigma=1, multichannel=False, **options):
        return gaussian(image, sigma=sigma, channel_axis=-1 if multichannel else None, **options)

    skimage.filters.gaussian = as_before
    import cv2
    import imagecorruptions

    cv2.setNumThreads(1)
    return imagecorruptions


def serve(folder):
    """Run and time the reference in its environment: read images.npz, write speed.npz and corrupted.npz."""
    package = load_reference()
    given = np.load(folder / "images.npz")
    np.random.seed(0)
    speed, corrupted = {}, {}
    for name in NAMES:
        for severity in SEVERITIES:
            large = given["large"][:1] if name == SLOW else given["large"]
            seconds = minimum_time(lambda: [package.corrupt(image, severity, name) for image in large], 3)  # noqa: B023  # called in the same iteration
            speed[f"{name}/{severity}"] = len(large) / seconds
            small = given["small"][:FEWER] if name == SLOW else given["small"]
            corrupted[f"{name}/{severity}"] = np.stack([package.corrupt(image, severity, name) for image in small])
        print(f"reference: {name}", flush=True)
    np.savez(folder / "speed.npz", **speed)
    np.savez(folder / "corrupted.npz", **corrupted)


def crops(side, count, seed):
    """Return random crops of two photos, uint8 (count, side, side, 3)."""
    from sklearn.datasets import load_sample_image

    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    random = np.random.default_rng(seed)
    images = []
    for number in range(count):
        photograph = photographs[number % 2]
        top, left = (random.integers(0, size - side + 1) for size in photograph.shape[:2])
        images.append(photograph[top : top + side, left : left + side])
    return np.stack(images)


def pasted(digits, seed):
    """Paste digits (n, 8, 8) in 0..16 as colored strokes onto crops of photos, uint8 (n, 64, 64, 3)."""
    from PIL import Image

    random = np.random.default_rng(seed)
    images = crops(64, len(digits), seed).astype(float)
    for image, digit in zip(images, digits, strict=True):
        side = int(random.integers(40, 57))
        stroke = Image.fromarray((digit * 15.9).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        share = np.asarray(stroke, dtype=float)[..., None] / 255
        top, left = random.integers(0, 64 - side + 1, 2)
        part = image[top : top + side, left : left + side]
        dark = part.mean() > 128
        part[:] = part * (1 - share) + share * random.uniform(0, 90, 3) if dark else part
        part[:] = part if dark else part * (1 - share) + share * random.uniform(165, 255, 3)
    return images.round().astype(np.uint8)


def trained(images, labels, epochs=8):
    """Return a small network, trained on uint8 images (n, 64, 64, 3)."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers, width = [], 3
    for wider in (16, 32, 48, 64):
        layers += [nn.Conv2d(width, wider, 3, stride=2, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
        width = wider
    net = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 16, 10))
    pixels, targets = as_pixels(images), torch.from_numpy(labels)
    steps = epochs * -(-len(pixels) // 64)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(pixels)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(pixels[rows]), targets[rows]).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def as_pixels(images):
    """Return uint8 images (n, h, w, 3) as float tensors (n, 3, h, w) in [0, 1]."""
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous() / 255


def correct(net, pixels, labels):
    """Return which images the network classifies correctly, bool (n,)."""
    import torch

    with torch.no_grad():
        predictions = torch.cat([net(part).argmax(dim=1) for part in pixels.split(250)])
    return predictions.numpy() == labels[: len(predictions)]


def network_and_images(count):
    """Return a trained network, and test images with labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    train, test = order[:1200], order[1200:]
    chosen = np.tile(train, 5)
    net = trained(pasted(data.images[chosen], 1), data.target[chosen])
    rows = np.resize(test, count)
    return net, pasted(data.images[rows], 2), data.target[rows]


def ours(net, images, labels, large):
    """Return images per second and the outcomes of two seeds for every corruption and severity."""
    from suite.corruptions.catalogue import corrupt

    speed, draws, big, small = {}, {}, as_pixels(large), as_pixels(images)
    for name in NAMES:
        for severity in SEVERITIES:
            corrupt(big, name, severity, range(len(big)))
            seconds = minimum_time(lambda: corrupt(big, name, severity, range(len(big))), 7)  # noqa: B023  # called in the same iteration
            key, part = f"{name}/{severity}", small[:FEWER] if name == SLOW else small
            speed[key] = len(big) / seconds
            seeds = [np.arange(len(part)) * 2 + draw for draw in (0, 1)]
            draws[key] = [correct(net, corrupt(part, name, severity, seed.tolist()), labels) for seed in seeds]
    return speed, draws


def table(speed, reference_speed, draws, reference_right):
    """Yield the table, one line per corruption, and the summary; accuracies in percent."""
    yield "| corruption | images/s | reference | speedup | accuracy | reference | gap by severity | gap | seed gap |"
    yield "|---|---|---|---|---|---|---|---|---|"
    lines = {name: compared(name, speed, reference_speed, draws, reference_right) for name in NAMES}
    for name, row in lines.items():
        yield (
            f"| {name} | {row['own']:,.0f} | {row['other']:,.1f} | {row['times']:,.1f} | {row['accuracy']:.2f} "
            f"| {row['theirs']:.2f} | {row['by_severity']:.2f} | {row['gap']:+.2f} | {row['floor']:.2f} |"
        )
    below = ", ".join(f"{name} {row['times']:.1f}" for name, row in lines.items() if row["times"] < 10)
    median = np.median([row["times"] for row in lines.values()])
    rest = [row for name, row in lines.items() if name != "frost"]
    yield ""
    yield f"Median speedup: {median:.1f}. Below 10: {below or 'none'}."
    yield ""
    yield (
        "Without frost, in points: mean absolute gap per corruption and severity, one draw each, "
        f"{np.mean([row['by_severity'] for row in rest]):.2f}, compared with "
        f"{np.mean([row['floor'] for row in rest]):.2f} between two seeds of the suite; "
        "mean absolute gap per corruption, over its severities, "
        f"{np.mean([abs(row['gap']) for row in rest]):.2f}; gap of the mean over all of them "
        f"{np.mean([row['gap'] for row in rest]):+.2f}."
    )


def compared(name, speed, reference_speed, draws, reference_right):
    """Return the values of one line: throughput in images per second, accuracies in percent, gaps in points."""
    keys = [f"{name}/{severity}" for severity in SEVERITIES]
    own, other = (1 / np.mean([1 / float(rates[key]) for key in keys]) for rates in (speed, reference_speed))
    accuracy = np.array([[100 * draw.mean() for draw in draws[key]] for key in keys])
    theirs = np.array([100 * reference_right[key].mean() for key in keys])
    return {
        "own": own,
        "other": other,
        "times": own / other,
        "accuracy": accuracy.mean(),
        "theirs": theirs.mean(),
        "by_severity": np.abs(accuracy[:, 0] - theirs).mean(),
        "gap": accuracy.mean() - theirs.mean(),
        "floor": np.abs(accuracy[:, 0] - accuracy[:, 1]).mean(),
    }


def main():
    """Run both implementations and write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--reference", required=True, help="interpreter of the reference's environment")
    options.add_argument("--count", type=int, default=2000, help="number of images for the accuracy comparison")
    given = options.parse_args()
    import torch

    torch.set_num_threads(1)
    net, images, labels = network_and_images(given.count)
    large = crops(224, 16, 3)
    clean = correct(net, as_pixels(images), labels).mean()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "images.npz", large=large, small=images)
        command = [given.reference, str(Path(__file__).resolve()), "--serve", str(folder)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        reference_speed = dict(np.load(folder / "speed.npz"))
        corrupted = np.load(folder / "corrupted.npz")
        reference_right = {key: correct(net, as_pixels(corrupted[key]), labels) for key in corrupted.files}
    speed, draws = ours(net, images, labels, large)
    lines = [
        "# Common corruptions compared with imagecorruptions 1.1.2",
        "",
        f"16 images of 224 pixels for speed; {given.count:,} images of 64 pixels ({FEWER} for {SLOW}) for accuracy; "
        f"clean accuracy {100 * clean:.2f} %. Written by `python -m tests.benchmarks.corruptions_speed`.",
        "",
        *table(speed, reference_speed, draws, reference_right),
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    else:
        main()
