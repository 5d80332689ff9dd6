"""Attack losses for classifiers: values, signs, and gradients at any scale of the logits."""

import math

import pytest
import torch
from torch import nn

from suite.errors import SpecError
from suite.kinds.classification.kind import Classification
from suite.kinds.classification.losses import LOSSES, attack_loss, rivals
from suite.kinds.defaults import SPREAD

UNTARGETED = ("margin", "ce", "scaled_ce", "dlr", "probability_margin")
SIGNED = ("margin", "dlr", "probability_margin")
"""Positive exactly where the model is wrong; log odds are positive where the target's probability is below one half."""


def sample(count=400, classes=6, seed=0, scale=2.0):
    """Return random logits, targets and other classes to aim at; about a third of the predictions are correct."""
    source = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, classes, generator=source, dtype=torch.float64)
    targets = torch.randint(classes, (count,), generator=source)
    logits[torch.arange(count), targets] += scale
    target_classes = (targets + torch.randint(1, classes, (count,), generator=source)) % classes
    return logits, targets, target_classes


def misclassified_by(logits, targets):
    """Return which samples the kind counts as wrong."""
    return Classification().damage(logits, targets) >= 1


def gradient(logits, targets, name, target_classes=None):
    """Return the gradient of the summed loss."""
    point = logits.clone().requires_grad_()
    return torch.autograd.grad(attack_loss(point, targets, name, target_classes).sum(), point)[0]


def cosine(one, other):
    units = [nn.functional.normalize(rows.double(), dim=1, eps=1e-300) for rows in (one, other)]
    return (units[0] * units[1]).sum(dim=1)


def constant(logits, targets, name, target_classes):
    """Return where a loss is constant by definition: DLR is 1 for a misclassified target that ranks third."""
    third = logits.argsort(dim=1, descending=True)[:, 2] == targets
    return third & (name == "dlr" and target_classes is None)


LN = math.log
HAND = {  # logits 3, 1, 0, -1; the prediction is correct (target 0) or wrong (1); the target class is 2
    "margin": {(0, None): -2, (1, None): 2, (0, 2): -3, (1, 2): -1},
    "ce": {
        (0, None): LN(math.e + 1 + 1 / math.e) - 3,
        (1, None): LN(math.e**3 + 1 + 1 / math.e) - 1,
        (0, 2): -LN(math.e**3 + math.e + 1 / math.e),
        (1, 2): -LN(math.e**3 + math.e + 1 / math.e),
    },
    "scaled_ce": {  # the range is scaled from 4 to 10: logits 7.5, 2.5, 0, -2.5
        (0, None): LN(math.exp(2.5) + 1 + math.exp(-2.5)) - 7.5,
        (1, None): LN(math.exp(7.5) + 1 + math.exp(-2.5)) - 2.5,
        (0, 2): -LN(math.exp(7.5) + math.exp(2.5) + math.exp(-2.5)),
        (1, 2): -LN(math.exp(7.5) + math.exp(2.5) + math.exp(-2.5)),
    },
    "dlr": {(0, None): -2 / 3, (1, None): 2 / 3, (0, 2): -3 / 3.5, (1, 2): -1 / 3.5},
}
EXPONENTIALS = [math.exp(value) for value in (7.5, 2.5, 0, -2.5)]
HAND["probability_margin"] = {
    key: (EXPONENTIALS[other] - EXPONENTIALS[key[0]]) / sum(EXPONENTIALS)
    for key, other in {(0, None): 1, (1, None): 0, (0, 2): 2, (1, 2): 2}.items()
}


def test_every_loss_is_tested():
    assert set(UNTARGETED) == set(LOSSES) == set(HAND)
    assert SPREAD == 10


@pytest.mark.parametrize("name", UNTARGETED)
def test_values_equal_those_computed_by_hand(name):
    logits = torch.tensor([[3.0, 1.0, 0.0, -1.0]])
    for (target, goal), value in HAND[name].items():
        target_classes = None if goal is None else torch.tensor([goal])
        loss = attack_loss(logits, torch.tensor([target]), name, target_classes)
        assert loss.dtype == torch.float64 and loss.shape == (1,)
        assert float(loss) == pytest.approx(value, abs=1e-12), (target, goal)


def test_an_unknown_loss_is_an_error_that_lists_the_others():
    with pytest.raises(SpecError, match=r"'hinge'; choose one of margin, ce, scaled_ce, dlr, probability_margin"):
        attack_loss(torch.zeros(1, 3), torch.zeros(1, dtype=torch.long), "hinge")


@pytest.mark.parametrize("name", SIGNED)
def test_margins_are_positive_exactly_where_the_model_is_wrong(name):
    logits, targets, _ = sample()
    misclassified = misclassified_by(logits, targets)
    assert 100 < misclassified.sum() < 300
    assert torch.equal(attack_loss(logits, targets, name) > 0, misclassified)


@pytest.mark.parametrize("name", ["ce", "scaled_ce"])
def test_log_odds_are_positive_where_the_target_has_less_than_half_the_probability(name):
    logits, targets, _ = sample()
    low, high = logits.aminmax(dim=1, keepdim=True)
    scaled = logits * 10 / (high - low) if name == "scaled_ce" else logits
    own = scaled.softmax(dim=1).gather(1, targets[:, None])[:, 0]
    positive, misclassified = attack_loss(logits, targets, name) > 0, misclassified_by(logits, targets)
    assert torch.equal(positive, own < 0.5)
    assert positive[misclassified].all()
    assert positive[~misclassified].any()  # so a positive value does not prove a misclassification


def test_margins_of_two_equal_logits_are_zero():
    logits = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    targets = torch.tensor([0, 1])
    assert misclassified_by(logits, targets).tolist() == [False, True]
    for name in SIGNED:
        assert attack_loss(logits, targets, name).tolist() == [0, 0]


@pytest.mark.parametrize("name", SIGNED)
def test_targeted_margins_are_positive_exactly_where_the_target_class_beats_the_label(name):
    logits, targets, target_classes = sample()
    beats = logits.gather(1, target_classes[:, None]) > logits.gather(1, targets[:, None])
    assert torch.equal(attack_loss(logits, targets, name, target_classes) > 0, beats[:, 0])


@pytest.mark.parametrize("name", ["ce", "scaled_ce"])
def test_positive_targeted_log_odds_mean_that_the_target_class_is_predicted(name):
    logits, targets, target_classes = sample(count=2000)
    positive = attack_loss(logits, targets, name, target_classes) > 0
    predicted = logits.argmax(dim=1) == target_classes
    assert predicted[positive].all() and positive.any()
    assert predicted[~positive].any()  # a class can be predicted with a probability below one half


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_ce_has_the_gradient_direction_of_the_cross_entropy(targeted):
    logits, targets, target_classes = sample()
    point = logits.clone().requires_grad_()
    cross_entropy = nn.functional.cross_entropy(point, target_classes if targeted else targets, reduction="sum")
    cross_entropy = (-1 if targeted else 1) * torch.autograd.grad(cross_entropy, point)[0]
    ours = gradient(logits, targets, "ce", target_classes if targeted else None)
    assert cosine(ours, cross_entropy).min() > 1 - 1e-12


def test_ce_is_an_increasing_function_of_the_cross_entropy():
    logits, targets, _ = sample()
    cross_entropy = nn.functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(attack_loss(logits, targets, "ce"), cross_entropy.expm1().log())


@pytest.mark.parametrize("name", UNTARGETED)
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5], ids=str)
def test_gradients_are_nonzero_at_every_scale_of_the_logits(name, targeted, scale):
    logits, targets, target_classes = sample()
    gradients = gradient((scale * logits).float(), targets, name, target_classes if targeted else None)
    assert gradients.dtype == torch.float32
    assert torch.isfinite(gradients).all()
    assert (gradients.abs().amax(dim=1) > 0)[
        ~constant(logits, targets, name, target_classes if targeted else None)
    ].all()


def test_ce_has_a_gradient_where_the_cross_entropy_vanishes():
    logits, targets, _ = sample()
    correct = misclassified_by(logits, targets).logical_not()
    huge = (1e5 * logits[correct]).float().requires_grad_()
    cross_entropy = nn.functional.cross_entropy(huge, targets[correct], reduction="sum")
    assert not torch.autograd.grad(cross_entropy, huge)[0].any()
    ours = gradient(huge.detach(), targets[correct], "ce")
    best = torch.zeros_like(ours)
    runner_up = rivals(logits[correct], targets[correct], 1)
    best.scatter_(1, runner_up, 1).scatter_(1, targets[correct][:, None], -1)
    torch.testing.assert_close(ours, best)  # the limit: increase the runner-up, decrease the target


def test_for_tiny_logits_ce_follows_the_cross_entropy_and_scaled_ce_does_not_depend_on_scale():
    logits, targets, _ = sample()
    point = (1e-4 * logits).requires_grad_()
    cross_entropy = torch.autograd.grad(nn.functional.cross_entropy(point, targets, reduction="sum"), point)[0]
    assert cosine(gradient(1e-4 * logits, targets, "ce"), cross_entropy).min() > 1 - 1e-12
    full = gradient(logits, targets, "scaled_ce")
    assert cosine(gradient(1e-4 * logits, targets, "scaled_ce"), full).min() > 1 - 1e-12
    assert cosine(gradient(1e-4 * logits, targets, "ce"), full).min() < 0.9  # there all classes get similar gradients


@pytest.mark.parametrize("name", ["margin", "scaled_ce", "dlr", "probability_margin"])
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(("factor", "shift"), [(1e-4, 0.0), (1e5, 0.0), (1.0, 100.0), (0.01, -3.0)])
def test_affine_changes_of_the_logits_keep_the_gradient_direction(name, targeted, factor, shift):
    logits, targets, target_classes = sample()
    target_classes = target_classes if targeted else None
    changed = factor * logits + shift
    equal = (
        cosine(gradient(changed, targets, name, target_classes), gradient(logits, targets, name, target_classes))
        > 1 - 1e-9
    )
    assert equal[~constant(logits, targets, name, target_classes)].all()
    before, after = (
        attack_loss(logits, targets, name, target_classes),
        attack_loss(changed, targets, name, target_classes),
    )
    torch.testing.assert_close(after, factor * before if name == "margin" else before, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_ce_depends_on_the_scale_but_not_on_a_shift(targeted):
    logits, targets, target_classes = sample()
    target_classes = target_classes if targeted else None
    shifted = attack_loss(logits + 100, targets, "ce", target_classes)
    torch.testing.assert_close(shifted, attack_loss(logits, targets, "ce", target_classes))
    assert (
        cosine(
            gradient(5 * logits, targets, "ce", target_classes), gradient(logits, targets, "ce", target_classes)
        ).min()
        < 0.99
    )


@pytest.mark.parametrize("name", UNTARGETED)
def test_a_sample_does_not_depend_on_the_batch(name):
    logits, targets, target_classes = sample(count=50)
    for aims in (None, target_classes):
        whole = gradient(logits, targets, name, aims)
        for row in range(0, 50, 7):
            alone = slice(row, row + 1)
            part = gradient(logits[alone], targets[alone], name, None if aims is None else aims[alone])
            assert torch.equal(part, whole[alone])


@pytest.mark.parametrize("name", UNTARGETED)
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes_give_finite_losses_and_gradients(name, targeted, classes):
    logits, targets, target_classes = sample(count=100, classes=classes)
    loss = attack_loss(logits, targets, name, target_classes if targeted else None)
    assert loss.shape == (100,) and torch.isfinite(loss).all()
    assert torch.isfinite(gradient(logits.float(), targets, name, target_classes if targeted else None)).all()


@pytest.mark.parametrize("name", UNTARGETED)
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("value", [0.0, 7.0])
def test_equal_logits_give_finite_losses_and_gradients(name, targeted, value):
    logits, targets, target_classes = sample(count=20)
    logits = torch.full_like(logits, value)
    assert torch.isfinite(attack_loss(logits, targets, name, target_classes if targeted else None)).all()
    assert torch.isfinite(gradient(logits.float(), targets, name, target_classes if targeted else None)).all()


@pytest.mark.parametrize("name", UNTARGETED)
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_correctly_classified_samples_have_gradients_with_few_classes(name, classes, targeted):
    logits, targets, target_classes = sample(count=200, classes=classes)
    correct = ~misclassified_by(logits, targets)
    gradients = gradient(logits, targets, name, target_classes if targeted else None)[correct]
    assert len(gradients) > 30
    assert (gradients.abs().amax(dim=1) > 1e-9).all()


@pytest.mark.parametrize("classes", [4, 10])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_dlr_equals_autoattacks(classes, scale):
    base = pytest.importorskip("pyautoattack.autopgd_base")
    logits, targets, target_classes = sample(classes=classes, scale=scale)
    plain = base.APGDAttack(None, eps=0.1, device="cpu").dlr_loss(logits, targets)
    torch.testing.assert_close(attack_loss(logits, targets, "dlr"), plain, rtol=1e-6, atol=0)  # they add 1e-12
    targeted = base.APGDAttack_targeted(None, eps=0.1, device="cpu")
    targeted.y_target = target_classes
    expected = targeted.dlr_loss_targeted(logits, targets)
    torch.testing.assert_close(attack_loss(logits, targets, "dlr", target_classes), expected, rtol=1e-6, atol=0)


def test_rivals_are_the_wrong_classes_in_order_of_their_logits():
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [3.0, 1.0, 2.0, 0.0]])
    targets = torch.tensor([0, 2])
    assert rivals(logits, targets, 2).tolist() == [[2, 1], [0, 1]]
    assert rivals(logits, targets, 9).tolist() == [[2, 1, 3], [0, 1, 3]]  # only three exist


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("value", [0.0, 5.0, -1e6])
def test_equal_logits_have_a_finite_loss_and_a_gradient_that_no_weight_overflows(name, value):
    logits = torch.full((2, 4), value, dtype=torch.float32, requires_grad=True)
    loss = attack_loss(logits, torch.tensor([0, 3]), name)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all() and gradient.abs().max() < 100


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_of_two_classes_follow_the_margin(name):
    logits = torch.tensor([[2.0, -1.0], [0.5, 1.0]], requires_grad=True)
    for target_classes in (None, torch.tensor([1, 1])):
        (gradient,) = torch.autograd.grad(attack_loss(logits, torch.tensor([0, 0]), name, target_classes).sum(), logits)
        assert (gradient[:, 1] > 0).all() and (gradient[:, 0] < 0).all()
