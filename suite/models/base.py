"""Adapters around PyTorch modules: inputs in the units of the suite in, a checked output out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.errors import ModelError, NotApplicableError
from suite.models.modules import check_module, fix_modes, keep_modes, set_eval
from suite.models.outputs import FLOATS, ONE_SCORE, Form, class_logits, numbers_of, refusal
from suite.models.outputs import form_of as form_of  # adapters of plugins import it from here
from suite.models.preparation import check_preparation
from suite.models.recipe import Recipe
from suite.models.weights import file_digest, load_weights, state_digest
from suite.types import IMAGE, Capabilities, Input

WIDTH = 64
"""Default number of rows of every call of a module in evaluation. It is fixed, because kernels for another number of
rows sum in another order, and the last bits of a sample's output would depend on its batch."""


PROBED = 8
"""Largest number of rows of a call of the module when the identity of a model is computed."""

OF_LOGARITHM = (
    "The logarithm of a probability of 0 is infinite: use log_softmax in place of the logarithm of a softmax, or limit "
    "the outputs from below, such as with .clamp(min=-100)."
)
"""What to do about outputs of minus infinity."""


class TorchModel:
    """A model of images with pixels in [0, 1] that returns one output per image.

    Scaling, normalization and resizing happen inside the adapter, so that attacks act on the original pixels.

    Args:
        module: the network; `shaped` turns what it returns into the output.
        weights: a safetensors file or a PyTorch checkpoint; ``file.pt#ema`` takes the part under a key. None to use the
            module as it is.
        bounds: the pixel range the module was trained on, (0, 1) or (0, 255), before `mean` and `std`.
        mean, std: normalization that the module expects, in units of `bounds`; one entry per channel, or one for all
            channels.
        input_size: (height, width) that the module expects; images of another size are resized, differentiably.
        recipe: how to train it; used when there are neither `weights` nor a stored training.
        layer: the module whose activations Grad-CAM uses; None for the default of `gradcam_layer`.
    """

    input: Input = IMAGE
    """What the model's inputs are."""

    output_name, input_name = "an output", "images"
    """What the model returns and what it takes, for error messages."""

    limits: tuple[float, float] = (0.0, 1.0)
    """The range of valid inputs."""

    max_perturbation: float | None = None
    """Largest perturbation of an element that keeps its meaning; None where only the limits bound it."""

    max_width: int | None = None
    """Largest number of rows of a call of the module; None for no limit."""

    def __init__(
        self,
        module: nn.Module,
        *,
        weights: str | Path | None = None,
        bounds: tuple[float, float] = (0.0, 1.0),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        input_size: tuple[int, int] | None = None,
        recipe: Recipe | None = None,
        layer: nn.Module | None = None,
    ) -> None:
        check_module(module, type(self).__name__)
        fix_modes(module)
        check_preparation(bounds, mean, std, input_size)
        self.module, self.recipe, self.weights = module, recipe, weights
        self.bounds, self.mean, self.std, self.input_size = bounds, mean, std, input_size
        self.layer = layer
        self._width = WIDTH
        if weights is not None:
            load_weights(module, weights)

    @property
    def width(self) -> int:
        """Number of rows of every call of the module in evaluation; at most `max_width`.

        More rows are cut into several calls, and fewer are padded. In training mode the module gets all rows at once.

        Raises:
            ModelError: on assignment of a number that is not positive.
        """
        return min(self._width, self.max_width or self._width)

    @width.setter
    def width(self, rows: int) -> None:
        if rows < 1:
            raise ModelError(f"width={rows}; expected at least one row.")
        self._width = rows

    def padding(self, rows: int) -> int:
        """Return the number of rows of padding that a call with some rows adds."""
        return 0 if self.module.training else -rows % self.width

    def in_full_batches(self, function: Callable[..., Any], *tensors: Tensor) -> Any:
        """Return the output of a function that calls the module, see `in_full_batches`."""
        return function(*tensors) if self.module.training else in_full_batches(function, self.width, *tensors)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the output for images (n, channels, height, width) with pixels in [0, 1].

        Raises:
            ModelError: the module does not return one finite output per image.
        """
        output = self.raw(pixels)
        bad = ~torch.isfinite(output.detach()).flatten(1).all(dim=1)
        if bad.any():
            logarithm = bool((output.detach() < math.inf).all())  # no NaN, and minus infinity only
            raise ModelError(
                f"The model returned {'minus infinity in' if logarithm else 'NaN or infinite'} {self.output_name} for "
                f"{int(bad.sum())} of {len(pixels)} {self.input_name}, first at row {int(bad.nonzero()[0])}. "
                + (OF_LOGARITHM if logarithm else "Check the weights, the normalization and the precision.")
            )
        return output

    def raw(self, pixels: Tensor) -> Tensor:
        """Return the output without checking that it is finite, which would synchronize with an accelerator.

        Raises:
            ModelError: the module does not return one output per image.
        """
        output: Tensor = self.in_full_batches(lambda rows: self.shaped(self.module(self.prepare(rows)), rows), pixels)
        return output

    def inputs(self, split: Split) -> npt.NDArray[Any]:
        """Return the model's inputs for a split, (n, ...): images, texts, embeddings or latents."""
        return split.pixels()

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return Capabilities(layers=self._has_convolution(), dropout=bool(self.dropout_layers()))

    def _has_convolution(self) -> bool:
        return self.layer is not None or any(isinstance(m, nn.Conv2d) for m in self.module.modules())

    def normalized_output(self, output: Tensor, pixels: Tensor) -> Tensor:
        """Return an output with all its numbers on one scale, so that two outputs can be compared."""
        return output

    def in_space(self, space: str) -> TorchModel:
        """Return the model with its inputs in another space, such as ``embedding``.

        Raises:
            NotApplicableError: the model has no such space.
        """
        raise NotApplicableError(f"a {type(self).__name__} has no input space called {space!r}")

    def learn(self, data: Any, device: torch.device) -> dict[str, Any] | None:
        """Train the model with a training loop of its own and return the history; None to use the common trainer.

        Args:
            data: samples, kind, seed and progress bar, see `suite.models.training.trainer.TrainingData`.
            device: device of the module.
        """
        return None

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return what the module returned for images in the form that the kind expects, (n, ...).

        Raises:
            ModelError: it has another form.
        """
        raise NotImplementedError

    def prepare(self, pixels: Tensor) -> Tensor:
        """Scale, resize and normalize pixels in [0, 1] as the module expects them."""
        low, high = self.bounds
        value = pixels.to(self.dtype) * (high - low) + low
        if self.input_size is not None and tuple(value.shape[-2:]) != tuple(self.input_size):
            value = nn.functional.interpolate(
                value, size=tuple(self.input_size), mode="bilinear", antialias=True, align_corners=False
            )
        if self.mean is not None:
            value = value - torch.as_tensor(self.mean, dtype=value.dtype, device=value.device).view(1, -1, 1, 1)
        if self.std is not None:
            value = value / torch.as_tensor(self.std, dtype=value.dtype, device=value.device).view(1, -1, 1, 1)
        return value

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the module's parameters, or of its buffers if it has none."""
        tensors = chain(self.module.parameters(), self.module.buffers())
        return next((tensor.dtype for tensor in tensors if tensor.dtype in FLOATS), torch.float32)

    @property
    def precision(self) -> str:
        """The name of that type, such as ``float32``."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        """The device of the module; the CPU if it has no tensors."""
        return next((t.device for t in chain(self.module.parameters(), self.module.buffers())), torch.device("cpu"))

    def digest(self, probe: Tensor) -> str:
        """Return the identity of a model that is not trained by the suite.

        Its tensors alone do not identify a model, since normalization and architecture matter too. So the digest covers
        the adapter's settings, the module's structure and its outputs on a few images.

        Args:
            probe: a few fixed images (n, channels, height, width) in [0, 1].
        """
        named = [name for name, child in self.module.named_modules() if child is self.layer]
        settings = [self.bounds, self.mean, self.std, self.input_size, named, *self.settings()]
        weights = file_digest(self.weights) if self.weights is not None else state_digest(self.module)
        width, self.width = self.width, min(self.width, PROBED)  # the identity does not depend on the width
        try:
            with self.frozen(), torch.no_grad():
                output = hashlib.sha256(self(probe).float().cpu().numpy().tobytes()).hexdigest()
        except Exception as error:  # a model that fails has an identity too; the axes will report the error
            output = type(error).__name__
        finally:
            self.width = width
        return hashlib.sha256(repr([settings, str(self.module), weights, output]).encode()).hexdigest()

    def settings(self) -> list[Any]:
        """Return further settings that determine the output, as lists and plain values."""
        return []

    def to(self, device: torch.device | str) -> Self:
        """Move the module to a device and return the adapter."""
        self.module.to(device)
        return self

    @contextmanager
    def frozen(self, *, dropout: bool = False) -> Iterator[None]:
        """Put the module into evaluation mode without parameter gradients; restore everything afterwards.

        Args:
            dropout: keep dropout active, for Monte Carlo dropout.
        """
        gradients = [(p, p.requires_grad) for p in self.module.parameters()]
        with keep_modes(self.module):
            try:
                set_eval(self.module)
                for child in self.dropout_layers() if dropout else ():
                    child.train()
                for parameter, _ in gradients:
                    parameter.requires_grad_(False)
                yield
            finally:
                for parameter, required in gradients:
                    parameter.requires_grad_(required)

    def dropout_layers(self) -> list[nn.Module]:
        """Return the dropout layers with a positive rate."""
        kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
        return [m for m in self.module.modules() if isinstance(m, kinds) and m.p > 0]

    def gradcam_layer(self, pixels: Tensor) -> nn.Module | None:
        """Return the layer for Grad-CAM: `layer`, or the last convolution whose output is a spatial map.

        The model runs on one image to see which outputs are maps: the convolutions of squeeze-and-excitation come after
        the last map and have 1x1 outputs. Patch embeddings are left out, since they precede everything that a
        transformer computes, and so are convolutions that run more than once, whose maps would be ambiguous.

        Args:
            pixels: images (n, channels, height, width) in [0, 1], one or more.

        Returns:
            A module of the model, or None if no convolution qualifies.

        Raises:
            ModelError: the model's output is invalid, see `__call__`.
        """
        if self.layer is not None:
            return self.layer
        convolutions = [m for m in self.module.modules() if isinstance(m, nn.Conv2d) and not _embeds_patches(m)]
        with record_calls(convolutions, lambda output: output.shape[-2:]) as calls, self.frozen(), torch.no_grad():
            self(pixels[:1])
        with_map = [module for module, size in calls if size.numel() > 1]
        return next((module for module in reversed(with_map) if with_map.count(module) == 1), None)


class TorchClassifier(TorchModel):
    """A classifier: its module maps (n, channels, height, width) to logits (n, classes).

    See `suite.models.outputs` for the other forms that are understood.
    """

    output_name = "logits"
    form = Form("(images, classes)")

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return logits (n, classes) unchanged."""
        return class_logits(output, pixels, self.form)


class TorchSegmenter(TorchModel):
    """A segmenter: its module maps (n, channels, height, width) to logits (n, classes, rows, columns).

    A mapping with the logits under the key ``out``, as torchvision returns it, is understood too, see
    `suite.models.outputs`. Logits whose size differs from that of the images are resized bilinearly.
    """

    output_name = "logits"
    form = Form("(images, classes, rows, columns), or a mapping with these under 'out'")

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return logits (n, classes, height, width) at the size of the images."""
        logits = numbers_of(output, pixels, self.form)
        if logits.shape[:1] != pixels.shape[:1] or logits.ndim != 4:
            raise refusal(logits, pixels, self.form)
        if logits.shape[1] == 1:
            raise refusal(logits, pixels, self.form, ONE_SCORE)
        if logits.shape[-2:] == pixels.shape[-2:]:
            return logits
        return nn.functional.interpolate(logits, size=pixels.shape[-2:], mode="bilinear", align_corners=False)


def in_full_batches(function: Callable[..., Any], width: int, *tensors: Tensor) -> Any:
    """Return the output of a function for any number of rows, calling it with exactly `width` rows each time.

    The last call is padded by repeating its first row. Gradients flow through all calls; padding receives none.

    Args:
        function: maps tensors (width, ...) to a tensor (width, ...), or to a tuple of such tensors.
        width: number of rows of a call.
        tensors: the arguments, (n, ...) each. With n = 0 the function is called once, without rows.
    """
    count = len(tensors[0])
    if not count:
        return function(*tensors)
    parts = [function(*(_full(tensor[at : at + width], width) for tensor in tensors)) for at in range(0, count, width)]
    if isinstance(parts[0], tuple):
        return tuple(torch.cat(column)[:count] for column in zip(*parts, strict=True))
    return torch.cat(parts)[:count]


def _full(rows: Tensor, width: int) -> Tensor:
    """Return rows padded to `width` by repeating the first one.

    They are copied, because the last bits of an output depend on the alignment and the order of values in memory.
    """
    padding = width - len(rows)
    if not padding:
        return rows.clone(memory_format=torch.contiguous_format)
    return torch.cat([rows, rows[:1].expand(padding, *rows.shape[1:])]).contiguous()


@contextmanager
def record_calls(modules: Iterable[nn.Module], read: Callable[[Any], Any]) -> Iterator[list[tuple[nn.Module, Any]]]:
    """Collect (module, read(output)) of every call of some modules, in the order of the calls."""
    calls: list[tuple[nn.Module, Any]] = []

    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        calls.append((module, read(output)))

    hooks = [module.register_forward_hook(record) for module in modules]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _embeds_patches(convolution: nn.Conv2d) -> bool:
    """Return whether the stride equals the kernel size, as in the patch embedding of a transformer."""
    return convolution.kernel_size == convolution.stride and max(convolution.kernel_size) > 1
