"""Check the pretend device itself; ``python -m tests.device.operators`` prints the checks that failed, as JSON."""

import copy
import io
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.attacks.images.torchattacks import seeded_globals
from suite.models.training.trainer import seeded
from tests.device import device

CHECKS: list[Callable[[], None]] = []
HERE = device.NAME


def check(function: Callable[[], None]) -> Callable[[], None]:
    """Add a check."""
    CHECKS.append(function)
    return function


@contextmanager
def refused(message: str) -> Iterator[None]:
    """Require an exception with a message."""
    try:
        yield
    except (RuntimeError, TypeError) as error:
        assert message in str(error), error
    else:
        raise AssertionError(f"expected an exception with {message!r}")


def distance(function: Callable[..., Tensor], *shapes: tuple[int, ...], gradient: bool = True) -> float:
    """Return how far values and gradients of a function on the device are from those on the CPU."""
    torch.manual_seed(0)
    values = [torch.randn(shape) for shape in shapes]
    results = []
    for where in ("cpu", HERE):
        inputs = [value.to(where).requires_grad_(gradient) for value in values]
        torch.manual_seed(1)
        output = function(*inputs)
        assert output.device.type == where
        gradients = torch.autograd.grad(output.square().sum(), inputs) if gradient else ()
        results.append([part.detach().cpu() for part in (output, *gradients)])
    return max(float((one - other).abs().max()) for one, other in zip(*results, strict=True))


@check
def device_and_cpu_tensors_do_not_mix() -> None:
    """Operators refuse both kinds together, also in place and in lists; CPU scalars and CPU indices are allowed."""
    here, there = torch.ones(2, 2, device=HERE), torch.ones(2, 2)
    for operator in (torch.add, torch.matmul, torch.dist, lambda a, b: torch.cat([a, b]), F.linear):
        for pair in ((here, there), (there, here)):
            with refused("same device"):
                operator(*pair)
    with refused("same device"):
        there.add_(here)
    with refused("same device"):
        torch.stack([here[0, 0], there[0, 0]])
    with refused("indices should be"):
        there[torch.tensor([0], device=HERE)]
    assert (here + torch.tensor(1.0)).tolist() == [[2, 2], [2, 2]]
    assert here[torch.tensor([0])].tolist() == [[1, 1]]


@check
def device_tensors_are_no_arrays() -> None:
    """NumPy cannot read them."""
    with refused("can't convert pretend:0 device type tensor to numpy"):
        torch.ones(2, device=HERE).numpy()


@check
def generators_belong_to_one_device() -> None:
    """A CPU generator is refused; one of the device draws the same numbers; each has its own state."""
    with refused("device type for generator"):
        torch.rand(2, device=HERE, generator=torch.Generator())
    drawn = torch.rand(9, device=HERE, generator=torch.Generator(HERE).manual_seed(3))
    assert torch.equal(drawn.cpu(), torch.rand(9, generator=torch.Generator().manual_seed(3)))
    torch.manual_seed(5)
    before = torch.randn(3)
    torch.manual_seed(5)
    torch.randn(3, device=HERE)
    assert torch.equal(torch.randn(3), before)
    with torch.random.fork_rng(devices=[0], device_type=device.NAME):
        torch.manual_seed(1)
        once = torch.rand(2, device=HERE)
    assert not torch.equal(torch.rand(2, device=HERE), once)


@check
def seeded_blocks_restore_the_generator_of_the_device() -> None:
    """What training and foreign attacks draw changes no later draw."""
    for block in (lambda: seeded(3, torch.device(HERE)), lambda: seeded_globals(3)):
        before = torch.pretend.get_rng_state()
        with block():
            drawn = torch.rand(4, device=HERE)
        assert torch.equal(torch.pretend.get_rng_state(), before)
        with block():
            assert torch.equal(torch.rand(4, device=HERE), drawn)


@check
def views_share_memory_and_may_change_size() -> None:
    """Writing to a view writes to its base; resizing, out= and .data replace memory."""
    base = torch.zeros(2, 3, device=HERE)
    base[:, 1].add_(2)
    base.view(-1)[0] = 7
    base.t()[2, 1] = 5
    assert base.tolist() == [[7, 2, 0], [0, 2, 5]]
    out = torch.empty(0, device=HERE)
    torch.add(base, base, out=out)
    assert out.tolist() == [[14, 4, 0], [0, 4, 10]]
    base.resize_(7).fill_(1)
    assert base.sum() == 7
    base.data = torch.ones(4, device=HERE)
    assert base.tolist() == [1, 1, 1, 1]


@check
def modules_can_be_copied_and_stored() -> None:
    """Deep copies and files of weights keep the device or move to the CPU."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).to(HERE)
    assert copy.deepcopy(net)[0].weight.device == net[0].weight.device
    for where, expected in (("cpu", "cpu"), (device.NAME, device.NAME), (None, device.NAME)):
        file = io.BytesIO()
        torch.save(net.state_dict(), file)
        file.seek(0)
        loaded = torch.load(file, map_location=where)["0.weight"]
        assert loaded.device.type == expected and torch.equal(loaded.cpu(), net[0].weight.detach().cpu())


@check
def waits_are_counted() -> None:
    """Numbers on the host, copies, and results whose size depends on values each count once; other operators do not."""
    values = torch.tensor([0.0, 1.0], device=HERE)
    with device.counted_waits() as waits:
        values.sum().item()
        bool((values > 0).all())
        torch.equal(values, values)
        values[values > 0]
        values.cpu()
        torch.tensor([1, 2], device=HERE)
        values.mean() + torch.where(values > 0, values, 0.0) * 2
        torch.ones(2).to(HERE, non_blocking=True)
    assert waits.by_name == {
        "aten::_local_scalar_dense": 2,
        "aten::equal": 1,
        "aten::nonzero": 1,
        "copy to host": 1,
        "copy to device": 1,
    }, waits


@check
def layers_and_their_gradients_equal_those_of_the_cpu() -> None:
    """Among them those that PyTorch fuses on accelerators."""
    image, kernel = (2, 4, 9, 9), (4, 4, 3, 3)
    functions: dict[str, tuple[Callable[..., Tensor], ...]] = {
        "conv": (lambda x, w: F.conv2d(x, w, padding=1), image, kernel),
        "conv_bias": (lambda x, w, b: F.conv2d(x, w, b, stride=2), image, kernel, (4,)),
        "conv_groups": (lambda x, w: F.conv2d(x, w, groups=2), image, (4, 2, 3, 3)),
        "conv_channels_last": (lambda x, w: F.conv2d(x.to(memory_format=torch.channels_last), w), image, kernel),
        "conv_transposed": (lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2), image, kernel, (4,)),
        "batch_norm": (lambda x: nn.BatchNorm2d(4).to(x.device)(x), image),
        "layer_norm": (lambda x: F.layer_norm(x, (9,)), image),
        "group_norm": (lambda x: F.group_norm(x.to(memory_format=torch.channels_last), 2), image),
        "pool": (lambda x: F.max_pool2d(F.avg_pool2d(x, 2), 2) + F.adaptive_avg_pool2d(x, 2), image),
        "antialiased": (lambda x: F.interpolate(x, size=(5, 7), mode="bilinear", antialias=True), image),
        "grid_sample": (lambda x, g: F.grid_sample(x, g, align_corners=False), image, (2, 4, 4, 2)),
        "embedding": (lambda w: F.embedding(torch.tensor([[1, 2], [0, 1]], device=w.device), w), (5, 3)),
        "attention": (F.scaled_dot_product_attention, (2, 2, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)),
        "gru": (lambda x: recurrent(nn.GRU, x), (2, 5, 3)),
        "lstm": (lambda x: recurrent(nn.LSTM, x), (2, 5, 3)),
        "packed": (packed, (2, 5, 3)),
        "dropout": (lambda x: F.dropout(x, 0.5), (3, 30)),
        "cross_entropy": (lambda x: F.cross_entropy(x, torch.zeros_like(x[:, 0]).long(), reduction="none"), image),
        "sorted": (lambda x: x.sort(dim=1).values + x.topk(9, dim=1).values + x.gather(1, x.argsort(1)), (3, 9)),
        "written": (written, (3, 9)),
    }
    for name, (function, *shapes) in functions.items():
        assert distance(function, *shapes) < 1e-5, name


def recurrent(layer: Callable[..., nn.Module], values: Tensor) -> Tensor:
    """Return the output of a recurrent layer with two directions."""
    net = layer(3, 4, 2, batch_first=True, bidirectional=True)
    output: Tensor = net.to(values.device)(values)[0]
    return output


def packed(values: Tensor) -> Tensor:
    """Return the output of a recurrent layer for texts of different length."""
    rnn = nn.utils.rnn
    texts = rnn.pack_padded_sequence(values, torch.tensor([5, 3]), batch_first=True)
    net = nn.GRU(3, 4, batch_first=True).to(values.device)
    output: Tensor = rnn.pad_packed_sequence(net(texts)[0], batch_first=True)[0]
    return output


def written(values: Tensor) -> Tensor:
    """Return values after writes by mask, by index and by slice."""
    copied = values.clone()
    copied[values > 0] = 2 * values[values > 0]
    copied[torch.tensor([0, 1], device=values.device), 0] = values[0, :2]
    copied[:, 1] = 3
    return copied


def main() -> None:
    """Run all checks."""
    device.load()
    failed = {}
    for one in CHECKS:
        try:
            one()
        except Exception:
            failed[one.__name__] = traceback.format_exc()
    device.finish(failed)


if __name__ == "__main__":
    main()
