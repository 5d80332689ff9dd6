"""Defenses that mask gradients without being robust, and unmasked models with unusual outputs.

Each wraps a trained classifier. If `same_as_base` is true, it makes the same predictions as the base model while no
gradients are computed, so its robust accuracy is that of the base. Otherwise it is a different function whose robust
accuracy is unknown.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.attacks import digits

Labeled = tuple[Tensor, Tensor]
"""Training pixels and labels, for the defenses that are trained."""


@dataclass(frozen=True)
class Fake:
    """A defense and its known properties.

    Attributes:
        name: its key in `FAKES`.
        make: maps (base, training data) to the defended module; most ignore the data.
        same_as_base: whether it makes the same predictions as the base while no gradients are computed.
        flags: names of the probes that must fail.
        stochastic: whether repeated passes over the same pixels give different outputs.
    """

    name: str
    make: Callable[[nn.Module, Labeled], nn.Module]
    same_as_base: bool
    flags: frozenset[str] = frozenset()
    stochastic: bool = False

    def build(self, base: nn.Module, data: Labeled | None = None) -> nn.Module:
        """Return the defense of a copy of the base in evaluation mode; trained ones use the digits by default."""
        return self.make(copy.deepcopy(base).eval(), data or digit_data()).eval()


def digit_data() -> Labeled:
    """Return the training digits."""
    train = digits.splits()[0]
    return torch.from_numpy(train.pixels()), torch.from_numpy(train.targets)


class After(nn.Module):
    """The base followed by a function of its logits."""

    def __init__(self, base: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.base, self.change = base, change

    def forward(self, pixels: Tensor) -> Tensor:
        return self.change(self.base(pixels))


class Before(nn.Module):
    """A function of the pixels followed by the base."""

    def __init__(self, base: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.base, self.change = base, change

    def forward(self, pixels: Tensor) -> Tensor:
        return self.base(self.change(pixels))


# Changes of the logits


def one_hot(logits: Tensor) -> Tensor:
    """Return 1 for the predicted class and 0 for the others: no gradient, and uninformative scores."""
    return functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits)


def saturated(logits: Tensor) -> Tensor:
    """Map the predicted class to +1 and the others to -1 by a tanh that is flat in float32.

    The threshold lies between the top two logits, so that rounding creates no ties between classes.
    """
    best = logits.topk(2, dim=1).values
    return torch.tanh(50 * (logits - best.mean(dim=1, keepdim=True)))


def nan_gradient(pixels: Tensor) -> Tensor:
    """Return the pixels, with a NaN gradient: sign(NaN) moves no pixel, and no error is raised."""
    return digits.change_gradient(pixels, lambda gradient: torch.full_like(gradient, torch.nan))


def noise_gradient(pixels: Tensor) -> Tensor:
    """Return the pixels, with noise as their gradient: finite, nonzero and useless."""

    def noise(gradient: Tensor) -> Tensor:
        source = torch.Generator().manual_seed(0)
        return torch.randn(gradient.shape, generator=source).to(gradient) * gradient.abs().mean()

    return digits.change_gradient(pixels, noise)


def reversed_gradient(pixels: Tensor) -> Tensor:
    """Return the pixels, with the reversed gradient: every step increases the confidence."""
    return digits.change_gradient(pixels, torch.neg)


class FlatInGradMode(nn.Module):
    """Detach the output and add zero times the input: differentiable, with a zero gradient everywhere."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.base(pixels)
        return logits.detach() + 0 * pixels.flatten(1).sum(dim=1, keepdim=True) if torch.is_grad_enabled() else logits


class OtherIfRequiresGrad(nn.Module):
    """Return the output for the mirrored input if the input requires gradients, so attacks maximize a wrong loss."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, pixels: Tensor) -> Tensor:
        return self.base(pixels.flip(-1)) if pixels.requires_grad else self.base(pixels)


# Changes of the pixels


def levels(pixels: Tensor) -> Tensor:
    """Round to 8 levels: the gradient of rounding is zero almost everywhere."""
    return torch.round(pixels * 7) / 7


def bit_depth(pixels: Tensor) -> Tensor:
    """Keep the three highest bits of eight (Guo et al. 2018; Xu et al. 2018): the graph ends at the cast."""
    return ((pixels * 255).round().to(torch.uint8) >> 5).to(pixels.dtype) / 7


def noisy_input(pixels: Tensor) -> Tensor:
    """Add Gaussian noise of standard deviation 0.3: one unlucky draw looks like a success."""
    return pixels + 0.3 * torch.randn_like(pixels)


def resized_and_padded(pixels: Tensor) -> Tensor:
    """Shrink each image by up to an eighth and place it at random (resize and pad, Xie et al. 2018)."""
    zoom, across, down = torch.rand(3, len(pixels)).to(pixels)
    size = 1 - zoom / 8
    shifts = torch.stack([2 * across - 1, 2 * down - 1], dim=1) * (1 - size)[:, None]
    squares = torch.eye(2).to(pixels).expand(len(pixels), 2, 2)
    placed = torch.cat([squares, shifts[:, :, None]], dim=2) / size[:, None, None]
    grid = functional.affine_grid(placed, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, align_corners=False)


def dct_matrix() -> Tensor:
    """Return the orthonormal matrix of the 8-point discrete cosine transform (Ahmed et al. 1974)."""
    row, column = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    matrix = 0.5 * torch.cos((2 * column + 1) * row * math.pi / 16)
    matrix[0] /= math.sqrt(2)
    return matrix


LUMINANCE = """16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""
"""Quantization steps of JPEG for luminance (ITU-T T.81, table K.1), in units of 1/255."""


def jpeg(pixels: Tensor) -> Tensor:
    """Round the DCT coefficients of 8x8 blocks as JPEG does (Das et al. 2018): flat almost everywhere."""
    height, width = pixels.shape[-2:]
    padded = functional.pad(pixels, (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = padded.unfold(-2, 8, 8).unfold(-2, 8, 8)
    transform = dct_matrix().to(pixels)
    steps = torch.tensor([int(step) for step in LUMINANCE.split()]).view(8, 8).to(pixels) / 255
    rounded = torch.round(transform @ (blocks - 0.5) @ transform.T / steps) * steps
    restored = transform.T @ rounded @ transform + 0.5
    whole = restored.permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)
    return whole[..., :height, :width].clamp(0, 1)


# Changes of the network


class WinnersTakeAll(nn.Module):
    """Keep the largest tenth of the activations of a layer (k-WTA, Xiao et al. 2020).

    The function is discontinuous where a winner changes, so its gradient is uninformative about a point one step away.
    """

    def forward(self, values: Tensor) -> Tensor:
        flat = values.flatten(1)
        least = flat.topk(max(1, flat.shape[1] // 10), dim=1).values[:, -1:]
        return torch.where(flat >= least, flat, torch.zeros_like(flat)).view_as(values)


def replaced(base: nn.Module, kind: type[nn.Module], new: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Replace every module of a type."""
    for parent in list(base.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kind):
                setattr(parent, name, new(child))
    return base


class AlwaysDropping(nn.Module):
    """Apply dropout after every ReLU at test time too (like Dhillon et al. 2018)."""

    def forward(self, values: Tensor) -> Tensor:
        return functional.dropout(functional.relu(values), 0.3, training=True)


class BatchStatistics(nn.Module):
    """A batch norm left in training mode: outputs depend on the rest of the batch."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, values: Tensor) -> Tensor:
        return functional.batch_norm(values, None, None, self.norm.weight, self.norm.bias, training=True)


class Thermometer(nn.Module):
    """Encode each pixel by which of 15 thresholds it exceeds (Buckman et al. 2018): comparisons have no gradient."""

    def forward(self, pixels: Tensor) -> Tensor:
        thresholds = torch.arange(1, 16).to(pixels) / 16
        return (pixels.unsqueeze(2) > thresholds.view(1, 1, -1, 1, 1)).to(pixels.dtype).flatten(1, 2)


def trained(net: nn.Module, data: Labeled, *, temperature: float = 1, teacher: nn.Module | None = None) -> nn.Module:
    """Train on labels, or on the teacher's probabilities at a temperature; the same network every time."""
    pixels, labels = data
    soft_labels = (
        functional.one_hot(labels).to(pixels)
        if teacher is None
        else teacher_probabilities(teacher, pixels, temperature)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in net.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        optimizer = torch.optim.Adam(net.train().parameters(), lr=4e-3)
        for _ in range(12):
            for rows in torch.randperm(len(pixels)).split(64):
                optimizer.zero_grad()
                functional.cross_entropy(net(pixels[rows]) / temperature, soft_labels[rows]).backward()
                optimizer.step()
    return net.eval().requires_grad_(False)


@torch.no_grad()
def teacher_probabilities(teacher: nn.Module, pixels: Tensor, temperature: float) -> Tensor:
    """Return a teacher's probabilities at a temperature."""
    return (teacher(pixels) / temperature).softmax(dim=1)


def distilled(base: nn.Module, data: Labeled) -> nn.Module:
    """Distill at temperature 30 and predict at 1 (Papernot et al. 2016): cross-entropy and gradient round to zero.

    This is a different function from the base; its robust accuracy is that of an undefended network.
    """
    teacher = trained(copy.deepcopy(base), data, temperature=30)
    return trained(base, data, temperature=30, teacher=teacher)


def thermometer(base: nn.Module, data: Labeled) -> nn.Module:
    """Train a small network on thermometer-encoded pixels; it is a different function from the base."""
    classes, (channels, height, width) = int(data[1].max()) + 1, data[0].shape[1:]
    net = nn.Sequential(
        Thermometer(),
        nn.Conv2d(15 * channels, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * ((height + 1) // 2) * ((width + 1) // 2), classes),
    )
    return trained(net, data)


def _after(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Labeled], nn.Module]:
    return lambda base, data: After(base, change)


def _before(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Labeled], nn.Module]:
    return lambda base, data: Before(base, change)


def _instead(kind: type[nn.Module], new: Callable[[nn.Module], nn.Module]) -> Callable[..., nn.Module]:
    return lambda base, data: replaced(base, kind, new)


FLAT, BLIND = frozenset({"outputs_are_logits"}), frozenset({"gradient_nonzero"})
RANDOM = frozenset({"deterministic"})

FAKES: dict[str, Fake] = {
    fake.name: fake
    for fake in (
        # The control: no defense.
        Fake("none", _after(lambda logits: logits), True),
        # Unmasked models with outputs of unusual scale, where the float32 cross-entropy fails but a margin does not.
        Fake("logits x100", _after(lambda logits: 100 * logits), True),
        Fake("logits x1e5", _after(lambda logits: 1e5 * logits), True),
        Fake("logits x1e-4", _after(lambda logits: 1e-4 * logits), True),
        Fake("logits + 1000", _after(lambda logits: logits + 1000), True),
        Fake("log-softmax", _after(lambda logits: logits.log_softmax(dim=1)), True),
        # Flattened scores, which hide gradients and score differences; AutoAttack is off by 55 to 59 points.
        Fake("softmax(50 x logits)", _after(lambda logits: (50 * logits).softmax(dim=1)), True, FLAT | BLIND),
        Fake("one-hot", _after(one_hot), True, FLAT | BLIND),
        Fake("saturated", _after(saturated), True, FLAT | BLIND),
        # Wrong backward passes of the base's own forward pass.
        Fake("NaN in backward", _before(nan_gradient), True, frozenset({"gradient_finite"})),
        Fake("noise in backward", _before(noise_gradient), True, frozenset({"gradient_informative"})),
        Fake("reversed backward", _before(reversed_gradient), True, frozenset({"gradient_informative"})),
        Fake("flat in grad mode", lambda base, data: FlatInGradMode(base), True, BLIND),
        Fake(
            "other if requires_grad", lambda base, data: OtherIfRequiresGrad(base), True, frozenset({"grad_mode_free"})
        ),
        # Discontinuous functions: gradients are zero or useless; attacks need a straight-through gradient.
        Fake("8 levels", _before(levels), False, BLIND),
        Fake("bit depth 3", _before(bit_depth), False, BLIND),
        Fake("JPEG-like", _before(jpeg), False, BLIND),
        Fake("thermometer", thermometer, False, BLIND),
        Fake("k-WTA", _instead(nn.ReLU, lambda old: WinnersTakeAll()), False, frozenset({"gradient_informative"})),
        # Randomized functions: attacks must average gradients, and a single misclassified draw is no success.
        Fake("input noise", _before(noisy_input), False, RANDOM, stochastic=True),
        Fake("resize and pad", _before(resized_and_padded), False, RANDOM, stochastic=True),
        Fake("dropout", _instead(nn.ReLU, lambda old: AlwaysDropping()), False, RANDOM, stochastic=True),
        # A wrong mode: outputs depend on the batch.
        Fake("batch statistics", _instead(nn.BatchNorm2d, BatchStatistics), False, frozenset({"alone_equals_batch"})),
        # Trained to saturate: the gradient of the cross-entropy vanishes, that of the margin does not.
        Fake("distilled", distilled, False),
    )
}


@functools.cache
def built(name: str) -> nn.Module:
    """Return a defense of the digits network, built once; it holds no state that an attack can change."""
    return FAKES[name].build(digits.trained().module)
