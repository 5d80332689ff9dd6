"""Modules as people have them: which ones can be measured, and their evaluation mode."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from suite.errors import ModelError

MODES = {"train", "training"}
"""Names of the arguments by which operators of exported graphs are told to train."""

TRACED = {"aten::dropout": 2, "aten::feature_dropout": 2, "aten::alpha_dropout": 2, "aten::batch_norm": 5}
"""The place of that argument in operators of TorchScript."""


def check_module(module: Any, adapter: str) -> None:
    """Check that an adapter can measure a module.

    Raises:
        ModelError: it is no module, has no values yet, or was exported in training mode.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(f"{adapter} got {_named(module)}; expected a torch.nn.Module. {_way_out(module)}")
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        if is_lazy(tensor):
            raise ModelError(
                f"{adapter} got {_named(module)} whose {name} has no shape yet, since a lazy layer has not "
                "run; expected all weights. Call the module once on a batch, then train it or load its weights."
            )
        if tensor.is_meta:
            raise ModelError(
                f"{adapter} got {_named(module)} whose {name} is on the meta device and holds no values; "
                "expected all weights. Build the module on the CPU and load its weights."
            )
    if operator := next(_still_training(module), None):
        raise ModelError(
            f"{adapter} got {_named(module)} that was exported or traced in training mode ({operator}), so "
            "that its outputs are random or depend on the batch. Call eval() on the network before that."
        )


def fix_modes(module: nn.Module) -> None:
    """Mark exported graphs and frozen TorchScript as evaluating: what they compute does not depend on a mode."""
    for child in module.modules():
        exported = isinstance(child, torch.fx.GraphModule) and "eval" in vars(child)  # there, eval() only raises
        if exported or not hasattr(child, "training"):
            for part in child.modules():
                part.training = False


def set_eval(module: nn.Module) -> None:
    """Put a module into evaluation mode; of one with an exported graph, whose eval() raises, only the flags are set."""
    try:
        module.eval()
    except NotImplementedError:
        for child in module.modules():
            child.training = False


@contextmanager
def keep_modes(module: nn.Module) -> Iterator[None]:
    """Restore the training mode of a module and of all its children afterwards."""
    modes = [(child, child.training) for child in module.modules()]
    try:
        yield
    finally:
        for child, mode in modes:
            child.training = mode


def _still_training(module: nn.Module) -> Iterator[str]:
    """Yield the operators of a fixed graph that train whatever the mode."""
    for child in module.modules():
        if isinstance(child, torch.fx.GraphModule):
            yield from (str(node.target) for node in child.graph.nodes if _trains(node))
        if isinstance(child, torch.jit.ScriptModule) and hasattr(child, "graph"):
            graph: Any = child.graph
            for operator, place in TRACED.items():
                nodes = graph.findAllNodes(operator, recurse=True)
                yield from (operator for node in nodes if list(node.inputs())[place].toIValue() is True)


def _trains(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema else []
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    return any(given.get(name) is True for name in MODES)


def _named(value: Any) -> str:
    if isinstance(value, type) or value is None:
        return f"the class {value.__name__}" if value is not None else "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def _way_out(value: Any) -> str:
    if isinstance(value, type):
        return f"Call it: {value.__name__}(...)."
    if isinstance(value, torch.export.ExportedProgram):
        return "Pass its module()."
    if isinstance(value, Mapping):
        return "Build the network and load these weights with its load_state_dict."
    if callable(getattr(value, "predict_proba", None)):
        return (
            "Pass a module whose forward returns the logarithms of predict_proba as a tensor; without gradients, "
            "attacks are limited to those that need none."
        )
    if callable(value):
        return "Pass a module whose forward calls it."
    return "Build or load the network first."
