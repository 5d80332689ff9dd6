"""Modules in memory as people have them: quantised, exported, scripted, compiled, without values."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import suite
from suite.errors import ModelError
from suite.models.base import TorchClassifier
from suite.models.state_digests import state_digest

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*quantiz"),
    pytest.mark.filterwarnings("ignore:.*torch.jit"),
    pytest.mark.filterwarnings("ignore:.*TracerWarning"),
]

IMAGES = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def net():
    """Return a network that knows the digits."""
    torch.manual_seed(0)
    data = suite.load("digits")
    pixels, targets = torch.from_numpy(data.train.pixels()), torch.from_numpy(data.train.targets)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(pixels), targets).backward()
        optimizer.step()
    return module.eval()


class Around(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images)


class Extra(Around):
    def get_extra_state(self):
        return {"version": 3, "range": np.arange(2), "kind": torch.qint8, "parts": [None, {1, 2}, torch.ones(2)]}

    def set_extra_state(self, state):
        pass


class Inference(Around):
    @torch.inference_mode()
    def forward(self, images):
        return self.inner(images)


class Single(Around):
    def forward(self, images):
        assert len(images) == 1
        return self.inner(images)


def exported(net, batch):
    shapes = ({0: torch.export.Dim("n")},) if batch > 1 else None
    return torch.export.export(net, (IMAGES[:batch],), dynamic_shapes=shapes).module()


MODULES = {
    "extra state": Extra,
    "quantised": lambda net: torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8),
    "exported": lambda net: exported(net, 64),
    "around exported": lambda net: Around(exported(net, 64)),
    "scripted": torch.jit.script,
    "traced": lambda net: torch.jit.trace(net, IMAGES),
    "frozen": lambda net: torch.jit.freeze(torch.jit.script(net)),
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "graph": torch.fx.symbolic_trace,
    "data parallel": nn.DataParallel,
    "in training mode": lambda net: net.train(),
    "double": lambda net: net.double(),
    "half": lambda net: net.half(),
    "bfloat16": lambda net: net.bfloat16(),
    "without gradients": Inference,
}


@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES)
def test_modules_as_people_have_them_are_measured(net, tmp_path, build):
    result = suite.audit(build(copy.deepcopy(net)), task="digits", axes=("clean",), n=60, store=tmp_path)
    rows = result.rows.set_index("metric")
    assert set(rows.status) == {"ok"} and rows.loc["accuracy", "value"] >= 0.95


@pytest.mark.parametrize("build", [Single, lambda net: exported(net, 1)], ids=["asserts", "exported"])
def test_a_module_for_one_image_is_measured_with_a_batch_of_one(net, tmp_path, build):
    settings = suite.Settings(batch_size=1)
    result = suite.audit(
        build(copy.deepcopy(net)), task="digits", axes=("clean",), n=20, store=tmp_path, settings=settings
    )
    assert result.rows.set_index("metric").loc["accuracy", "value"] >= 0.9


@pytest.mark.parametrize("build", [Single, lambda net: exported(net, 1)], ids=["asserts", "exported"])
def test_a_module_for_one_image_is_not_measured_with_more_and_the_way_out_is_named(net, tmp_path, build):
    result = suite.audit(build(copy.deepcopy(net)), task="digits", axes=("clean",), n=20, store=tmp_path)
    (reason,) = result.rows.reason
    assert reason.startswith("ModelError: The model fails on batches of 64 and works on single samples; measure it")
    assert "settings=Settings(batch_size=1)" in reason


def test_methods_without_gradients_explain_quantised_modules(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    module = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
    rows = suite.audit(module, task="digits", axes=("attribution",), n=10, store=tmp_path).rows
    methods = [json.loads(params)["method"] for params in rows.params]
    skipped = rows[(rows.status == "skipped") & (rows.metric == "insertion_auc")]
    assert len(skipped) == 4 and skipped.reason.str.startswith("got a scalar that is detached from its input").all()
    assert set(rows.status) == {"ok", "skipped"} and "occlusion" in methods


def unusable():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
    return {
        "function": (network.forward, "got a method; .* Pass a module whose forward calls it"),
        "class": (nn.Linear, r"got the class Linear; .* Call it: Linear\(\.\.\.\)"),
        "state": (network.state_dict(), "got an OrderedDict; .* load_state_dict"),
        "path": ("net.pt", "got a str; .* Build or load the network first"),
        "program": (torch.export.export(network.eval(), (IMAGES,)), r"got an ExportedProgram; .* module\(\)"),
        "lazy": (nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), r"whose 1\.weight has no shape yet"),
        "meta": (nn.Linear(2, 2, device="meta"), "whose weight is on the meta device"),
        "exported in training mode": (
            torch.export.export(network.train(), (IMAGES,)).module(),
            r"in training mode \(aten\.dropout\.default\).* Call eval\(\)",
        ),
        "traced in training mode": (
            torch.jit.trace(network.train(), IMAGES, check_trace=False),
            r"in training mode \(aten::dropout\)",
        ),
    }


@pytest.mark.parametrize("case", list(range(9)))
def test_what_cannot_be_measured_is_refused_with_what_to_do(case):
    module, reason = list(unusable().values())[case]
    with pytest.raises(ModelError, match=reason):
        TorchClassifier(module)


def test_a_classifier_of_scikit_learn_is_refused_with_what_to_do():
    linear = pytest.importorskip("sklearn.linear_model")
    with pytest.raises(ModelError, match=r"got a LogisticRegression; .* logarithms of predict_proba"):
        TorchClassifier(linear.LogisticRegression())


class Opaque:
    """An object without a text of its own."""

    def __init__(self, number):
        self.number, self.itself = number, self


class Holder(nn.Module):
    def __init__(self, state):
        super().__init__()
        self.state = state

    def get_extra_state(self):
        return self.state


STATES = {
    "number": (1, 2),
    "array": (np.arange(5000), np.where(np.arange(5000) == 2500, 0, np.arange(5000))),
    "tensor in a list": ([torch.ones(5000)], [torch.ones(5000).index_fill(0, torch.tensor([2500]), 0.0)]),
    "object": (Opaque(1), Opaque(2)),
    "sparse": (torch.eye(3).to_sparse(), torch.zeros(3, 3).to_sparse()),
    "type": (torch.qint8, torch.quint8),
    "nothing": (None, ()),
}


@pytest.mark.parametrize(("one", "other"), STATES.values(), ids=STATES)
def test_state_of_every_type_is_part_of_the_identity(one, other):
    assert state_digest(Holder(one)) == state_digest(Holder(copy.deepcopy(one))) != state_digest(Holder(other))


SCRIPT = """
import torch, warnings
from torch import nn
from suite.models.base import TorchClassifier
warnings.simplefilter("ignore")
torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
quantised = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
exported = torch.export.export(net, (torch.rand(8, 1, 4, 4),)).module()
for module in (quantised, exported, torch.jit.script(net), torch.fx.symbolic_trace(net)):
    print(TorchClassifier(module).digest(torch.linspace(0, 1, 128).view(8, 1, 4, 4)))
"""


def test_the_identity_is_the_same_in_every_process():
    runs = [
        subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True).stdout.split()
        for _ in range(2)
    ]
    assert runs[0] == runs[1] and len(set(runs[0])) == 4
