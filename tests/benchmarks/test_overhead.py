"""Passes of the attack engine, counted by the model itself; the benchmark measures times."""

from dataclasses import replace

import pytest
import torch

from suite.models.networks.image_classifiers import small_cnn
from tests.benchmarks.overhead import STEPS, Subject, bare, ours, problem_of, torchattacks_pgd
from tests.benchmarks.reference import Counted


@pytest.fixture
def case():
    torch.manual_seed(0)
    net = small_cnn(10, (1, 8, 8), width=4).eval().requires_grad_(False)
    pixels = torch.rand(48, 1, 8, 8)
    return Subject("untrained", net, pixels, net(pixels).argmax(dim=1), eps=0.02, batch=16)


def counted(case, **options):
    net = Counted(case.net)
    problem = problem_of(case, net.eval())
    ours(case, problem, **options)
    return net, problem.passes


def test_a_step_takes_one_forward_and_one_backward_pass_and_the_end_one_forward_pass(case):
    net, passes = counted(case, stop=False)
    assert (passes.forward, passes.backward) == (48 * (STEPS + 1), 48 * STEPS)
    assert (net.forwards, net.backwards) == (passes.forward, passes.backward)


def test_misclassified_samples_take_no_further_passes(case):
    wrong = (case.labels + torch.arange(48) % 2) % 10  # every other sample is misclassified from the start
    net, passes = counted(replace(case, labels=wrong), stop=True)
    assert (net.forwards, net.backwards) == (passes.forward, passes.backward)
    assert passes.total - passes.padding == 2 * (24 * STEPS + 24) + 24
    assert passes.padding <= 3 * case.batch  # in the last batches only


@pytest.mark.parametrize(("forward", "backward"), [(48, 48), (528, 480), (40, 0), (50, 21)])
def test_the_number_of_bare_passes_is_the_given_one(case, forward, backward):
    net = Counted(case.net)
    bare(net, case.pixels, 16, forward=forward, backward=backward)
    assert (net.forwards, net.backwards) == (forward, backward)


def test_torchattacks_keeps_eval_mode_and_takes_the_same_number_of_steps(case):
    net = Counted(case.net)  # a new wrapper is in training mode
    torchattacks_pgd(case, net, 16)
    assert not any(module.training for module in case.net.modules())
    assert (net.forwards, net.backwards) == (48 * STEPS, 48 * STEPS)
