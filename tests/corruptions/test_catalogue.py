"""What every corruption must keep to, at every severity and for every size of image."""

import itertools

import pytest
import torch
from sklearn.datasets import load_digits

from suite.corruptions import catalogue
from suite.corruptions.catalogue import COMMON, SEVERITIES, corrupt
from suite.errors import SpecError, UnknownNameError
from tests.corruptions.photos import small_photos

RANDOM = {"gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog"}
RANDOM |= {"elastic_transform"}


def digits():
    return torch.from_numpy(load_digits().images[:6, None] / 16).float()


BATCHES = {"8x8 grey": digits, "28x28 grey": lambda: small_photos(28, 1), "64x64 colour": lambda: small_photos(64, 3)}
EVERYTHING = [(name, severity) for name in COMMON for severity in SEVERITIES]


@pytest.fixture(scope="module", params=BATCHES)
def images(request):
    return BATCHES[request.param]()


def test_the_fifteen_of_the_paper():
    assert list(COMMON) == [
        *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    ]


@pytest.mark.parametrize(("name", "severity"), EVERYTHING)
def test_shape_range_levels_and_some_change(images, name, severity):
    kept = images.clone()
    found = corrupt(images, name, severity, range(len(images)))
    assert torch.equal(images, kept)
    assert (found.shape, found.dtype, found.device) == (images.shape, images.dtype, images.device)
    assert torch.isfinite(found).all()
    assert 0 <= found.min() and found.max() <= 1
    assert (found * 255 - (found * 255).round()).abs().max() < 1e-4
    assert ((found - images).abs().mean(dim=(1, 2, 3)) > 1e-3).all()


@pytest.mark.parametrize(("name", "severity"), EVERYTHING)
def test_a_result_depends_on_the_image_and_its_seed_alone(images, name, severity, monkeypatch):
    seeds = [11 * number for number in range(len(images))]
    together = corrupt(images, name, severity, seeds)
    alone = torch.cat([corrupt(images[row : row + 1], name, severity, seeds[row : row + 1]) for row in range(4)])
    assert torch.equal(together[:4], alone)
    backwards = corrupt(images.flip(0), name, severity, seeds[::-1]).flip(0)
    assert torch.equal(together, backwards)
    monkeypatch.setattr(catalogue, "CHUNK", 3 * images[0].numel())
    assert torch.equal(together, corrupt(images, name, severity, seeds))


@pytest.mark.parametrize("name", COMMON)
def test_the_seed_matters_where_chance_does_and_only_there(images, name):
    first, again, other = (corrupt(images, name, 3, [seed] * len(images)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    if name in RANDOM:
        assert (first != other).flatten(1).any(dim=1).all()
    else:
        assert torch.equal(first, other)


@pytest.mark.parametrize("name", COMMON)
def test_severity_grows_on_photographs(name):
    images = small_photos(64, 3)
    seeds = range(4 * len(images))
    changes = [
        float((corrupt(images.repeat(4, 1, 1, 1), name, severity, seeds) - images.repeat(4, 1, 1, 1)).abs().mean())
        for severity in SEVERITIES
    ]
    # The constants of the reference fall back a little here and there: frost 4, snow 3 and glass 2 and 4.
    assert changes[-1] > 1.15 * changes[0]
    assert all(later > 0.9 * earlier for earlier, later in itertools.pairwise(changes)), changes


@pytest.mark.parametrize("name", COMMON)
def test_severity_zero_is_the_clean_image(images, name):
    assert torch.equal(corrupt(images, name, 0, range(len(images))), images)


@pytest.mark.parametrize("name", COMMON)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 2, 5), (1, 3, 37, 21), (1, 1, 300, 9), (0, 3, 8, 8)], ids=str)
def test_any_size(name, shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    for severity in SEVERITIES:
        found = corrupt(images, name, severity, range(len(images)))
        assert found.shape == images.shape
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_the_type_of_the_pixels_is_kept(dtype):
    images = small_photos(32, 3)
    found = corrupt(images.to(dtype), "fog", 2, range(4))
    assert found.dtype == dtype
    assert (found.float() - corrupt(images, "fog", 2, range(4))).abs().max() < 3 / 255


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'gaussian_noise'"):
        corrupt(digits(), "gausian_noise", 1, range(6))


@pytest.mark.parametrize("severity", [6, -1, 1.0, True, "1"])
def test_a_severity_is_a_whole_number_from_0_to_5(severity):
    with pytest.raises(SpecError, match=r"from 1 \(mild\) to 5"):
        corrupt(digits(), "fog", severity, range(6))


@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 2, 8, 8), (6, 1, 0, 8), (5, 1, 8, 8)], ids=str)
def test_what_is_no_image_or_has_no_seed_is_refused(shape):
    with pytest.raises(SpecError, match="one seed per image"):
        corrupt(torch.zeros(shape), "fog", 1, range(6))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", COMMON)
def test_a_gpu_sees_the_same_images(name):
    images = small_photos(64, 3)
    here, there = corrupt(images, name, 3, range(4)), corrupt(images.cuda(), name, 3, range(4))
    assert there.is_cuda
    assert (here - there.cpu()).abs().mean() < 0.5 / 255
