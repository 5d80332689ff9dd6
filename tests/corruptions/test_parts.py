"""The components of corruptions, compared with their definition or an independent implementation."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

from suite.attacks.rng import as_seeds
from suite.corruptions import blur, digital, draws, filters, jpeg, noise, textures, weather
from tests.corruptions.photos import CROPS, photo, small_photos

SEEDS = torch.arange(40)


def levels(images):
    return (images * 255).round()


def through_pillow(image, quality):
    file = io.BytesIO()
    array = image.byte().permute(1, 2, 0).numpy()
    Image.fromarray(array[..., 0] if len(image) == 1 else array).save(file, "JPEG", quality=quality)
    back = np.atleast_3d(np.array(Image.open(file)))
    return torch.from_numpy(back).permute(2, 0, 1).float()


@pytest.mark.parametrize("quality", [7, 10, 15, 18, 25, 60])
@pytest.mark.parametrize("file", CROPS)
def test_jpeg_matches_pillow(file, quality):
    image = levels(photo(file))[0]
    expected, output = through_pillow(image, quality), jpeg.round_trip(image[None], quality)[0]
    difference = (output - expected).abs()
    assert difference.mean() < 0.4  # of a level: sometimes a coefficient at a half is rounded the other way
    assert (difference > 2).float().mean() < 0.035
    assert difference.mean() < 0.05 * (image - expected).abs().mean()


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (17, 31), (1, 1), (50, 33)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_matches_pillow_for_any_size(size, channels):
    image = levels(photo("china.jpg"))[0, :channels, : size[0], : size[1]]
    difference = (jpeg.round_trip(image[None], 15)[0] - through_pillow(image, 15)).abs()
    assert difference.mean() < (0.5 if size[0] > 1 else 1.01)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("side", [224, 50, 8])
def test_pixelate_matches_pillow(side, severity):
    image = levels(photo("china.jpg")[..., :side, :side])[0]
    whole = Image.fromarray(image.byte().permute(1, 2, 0).numpy())
    small = int(side * digital.SHARES[severity - 1])
    shrunk = whole.resize((small, small), Image.Resampling.BOX)
    expected = np.array(shrunk.resize((side, side), Image.Resampling.NEAREST))
    output = digital.pixelate(image[None], severity, SEEDS[:1])[0].permute(1, 2, 0).numpy()
    assert (output == expected).all()


@pytest.mark.parametrize(("border", "mode"), [("edge", "nearest"), ("mirror", "mirror"), ("half", "reflect")])
@pytest.mark.parametrize("sigma", [0.0, 0.7, 2.24])
@pytest.mark.parametrize("size", [(20, 33), (3, 2)], ids=str)
def test_gaussian_blur_matches_scipy(size, sigma, border, mode):
    image = levels(photo("flower.jpg"))[..., : size[0], : size[1]].double()
    expected = ndimage.gaussian_filter(image[0].numpy(), (0, sigma, sigma), mode=mode, truncate=4.0)
    assert np.abs(filters.gaussian_blur(image, sigma, border)[0].numpy() - expected).max() < 1e-9


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_defocus_is_a_convolution_with_a_disk(severity):
    radius, sigma, _ = blur.DISKS[severity - 1]
    places = np.arange(-8, 9)
    disk = (places[:, None] ** 2 + places**2 <= radius**2).astype(float)
    weights = np.array(filters.gaussian_weights(sigma, 1))
    disk = ndimage.convolve(disk / disk.sum(), np.outer(weights, weights), mode="mirror")
    image = levels(photo("china.jpg")[..., :60, :70])
    expected = np.stack([ndimage.convolve(plane, disk, mode="mirror") for plane in image[0].double().numpy()])
    assert np.abs(blur.defocus_blur(image, severity, SEEDS[:1])[0].numpy() - expected).max() < 0.15


def test_zoom_blur_enlarges_like_scipy():
    image = levels(photo("china.jpg")[..., :40, :60])
    for factor in (1.01, 1.07, 1.26):
        rows, columns = (int(np.ceil(side / factor)) for side in (40, 60))
        top, left = (40 - rows) // 2, (60 - columns) // 2
        middle = image[0, :, top : top + rows, left : left + columns].numpy()
        expected = ndimage.zoom(middle, (1, factor, factor), order=1)
        assert np.abs(blur.enlarged(image, factor)[0].numpy() - expected).max() < 1e-3


def displaced_one_by_one(steps, height, width, distance):
    """Follow the definition: visit the pixels from the last to the first, and copy."""
    image = np.arange(height * width).reshape(height, width)
    for row in range(height - distance, distance, -1):
        for column in range(width - distance, distance, -1):
            down, right = steps[:, row - distance - 1, column - distance - 1]
            image[row, column] = image[row + down, column + right]
    return image.ravel()


@pytest.mark.parametrize("distance", [1, 2, 4])
def test_glass_displaces_pixels_one_after_the_other(distance):
    height, width = 23, 17
    inner = (2, height - 2 * distance, width - 2 * distance)
    steps = draws.uniform(SEEDS[:3], 7, inner).mul(2 * distance).long().sub(distance)
    output = blur.displaced(SEEDS[:3], 7, (height, width), distance)
    for row in range(3):
        assert (output[row].numpy() == displaced_one_by_one(steps[row].numpy(), height, width, distance)).all()
    assert steps.min() == -distance and steps.max() == distance - 1


def test_glass_on_a_tiny_image_moves_no_pixel():
    assert (blur.displaced(SEEDS[:2], 0, (4, 9), 2) == torch.arange(36)).all()


@pytest.mark.parametrize("angle", [-44.0, 0.0, 30.0, -90.0, -120.5])
def test_a_line_blur_is_a_sum_of_shifted_images(angle):
    image = levels(photo("china.jpg")[..., :20, :24]).double()
    weights = np.exp(-0.5 * (np.arange(9) / 3.0) ** 2)
    rows, columns = np.mgrid[:20, :24]
    expected = np.zeros((3, 20, 24))
    for step, weight in enumerate(weights / weights.sum()):
        down = np.ceil(step * np.sin(np.deg2rad(angle)) - 0.5).astype(int)
        right = np.ceil(step * np.cos(np.deg2rad(angle)) - 0.5).astype(int)
        expected += weight * image[0].numpy()[:, (rows + down).clip(0, 19), (columns + right).clip(0, 23)]
    assert np.abs(filters.line_blur(image, 4, 3.0, [angle])[0].numpy() - expected).max() < 1e-9


@pytest.mark.parametrize("severity", [1, 5])
def test_shot_noise_is_poisson(severity):
    rate = noise.PHOTONS[severity - 1]
    for shade in (0, 3, 100, 255):
        flat = torch.full((1, 1, 200, 200), float(shade))
        counts = noise.shot_noise(flat, severity, as_seeds([9])).flatten().mul(rate / 255).round().long().numpy()
        mean = shade / 255 * rate
        values = np.arange(counts.max() + 1)
        expected = stats.poisson.pmf(values, mean) * counts.size
        observed = np.bincount(counts, minlength=len(values))
        common = expected > 8
        tail = np.array(
            [observed[~common].sum(), expected[~common].sum() + stats.poisson.sf(values[-1], mean) * counts.size]
        )
        score = ((observed - expected)[common] ** 2 / expected[common]).sum() + (tail[0] - tail[1]) ** 2 / max(
            tail[1], 1
        )
        assert stats.chi2.sf(score, common.sum()) > 1e-4


def test_normal_draws_are_normal_and_uncorrelated():
    numbers = draws.normal(as_seeds([1, 2]), 0, (3, 100, 100))
    assert stats.kstest(numbers[0].flatten().numpy(), "norm").pvalue > 1e-3
    assert abs(float(torch.corrcoef(numbers.flatten(1))[0, 1])) < 0.03
    assert abs(float(numbers.flatten()[:-1] @ numbers.flatten()[1:]) / numbers.numel()) < 0.02


def test_impulses_have_the_given_share_and_half_of_them_are_white():
    flat = torch.full((1, 3, 200, 200), 100.0)
    for severity, amount in enumerate(noise.AMOUNTS, start=1):
        output = noise.impulse_noise(flat, severity, as_seeds([4])).clamp(0, 255)
        assert set(output.unique().tolist()) == {0.0, 100.0, 255.0}
        for color in (0.0, 255.0):
            assert abs((output == color).float().mean() - amount / 2) < 4 * (amount / 2 / flat.numel()) ** 0.5


def test_plasma_fills_its_range_and_is_smooth_and_periodic():
    clouds = textures.plasma(SEEDS, 60, 2.0)
    assert clouds.shape == (40, 64, 64)
    assert (clouds.amin(dim=(1, 2)) == 0).all() and (clouds.amax(dim=(1, 2)) == 1).all()
    inside = clouds.diff(dim=1).abs().mean()
    across = (clouds[:, 0] - clouds[:, -1]).abs().mean()
    assert inside < 0.03
    assert abs(across / inside - 1) < 0.35
    rough = textures.plasma(SEEDS, 60, 1.4).diff(dim=1).abs().mean()
    assert rough > 1.5 * inside


def test_ice_has_the_means_and_deviations_of_its_colors():
    picks = draws.uniform(SEEDS, 0, (3,))
    ice = textures.frosted(picks, (3, 400, 400), 1.0)
    for row, which in enumerate((picks[:, 0] * 5).long().tolist()):
        means, deviations = textures.ICE[which]
        assert (ice[row].mean(dim=(1, 2)) - torch.tensor(means)).abs().max() < 8
        assert (ice[row].std(dim=(1, 2)) - torch.tensor(deviations)).abs().max() < 6
    assert len(ice[:, 0].std(dim=(1, 2)).round(decimals=2).unique()) > 4


def test_ice_is_enlarged_for_large_images():
    picks = draws.uniform(SEEDS[:2], 0, (3,))
    small, large = textures.frosted(picks, (1, 64, 64), 1.0), textures.frosted(picks, (1, 1500, 30), 1.0)
    assert large.shape == (2, 1, 1500, 30)
    assert large.diff(dim=2).abs().mean() < 0.6 * small.diff(dim=2).abs().mean()


def test_brightness_keeps_the_hue_and_turns_black_to_gray():
    image = torch.tensor([[10.0, 50.0, 100.0], [0.0, 0.0, 0.0], [200.0, 100.0, 250.0]]).T[None, :, :, None]
    output = weather.brightness(image, 3, SEEDS[:1])[0, :, :, 0].T
    raised = 100 + 0.3 * 255
    assert torch.allclose(output[0], torch.tensor([10.0, 50.0, 100.0]) * raised / 100)
    assert torch.allclose(output[1], torch.full((3,), 0.3 * 255))
    assert torch.allclose(output[2], torch.tensor([200.0, 100.0, 250.0]) * 255 / 250)


def test_lengths_shrink_with_images_below_32_pixels_only():
    assert filters.length_scale(torch.zeros(1, 1, 32, 400)) == 1
    assert filters.length_scale(torch.zeros(1, 1, 224, 224)) == 1
    assert filters.length_scale(torch.zeros(1, 1, 400, 8)) == 0.25
    # A blur of 10 pixels would erase an image of 8; at severity 1 most of the contrast must remain.
    small = small_photos(8, 1) * 255
    assert blur.defocus_blur(small, 1, SEEDS[:4]).std() > 0.6 * small.std()
