"""Attack losses and attribution scalars of detectors: equal to loops over candidates."""

import itertools
import math

import numpy as np
import pytest
import torch

from suite.errors import AttackError, SpecError
from suite.kinds.detection import losses
from suite.kinds.detection.kind import Detection
from suite.models.adapters.detector import TorchDetector
from tests.kinds.planted import PlantedDetector, boxes_of, context_of, scenes
from tests.metrics.detection.naive import overlap

CLASSES = 3


def candidates(seed=0, images=4, count=30, size=24.0):
    """Return float64 candidates (n, L, 4 + 3) and true boxes (n, 4, 6) near some of them; the last image has none."""
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, size - 8, (images, count, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(3, 8, (images, count, 2))], axis=2)
    table = np.concatenate([boxes, generator.uniform(0.01, 0.99, (images, count, CLASSES))], axis=2)
    truth = np.zeros((images, 4, 6), np.float32)
    truth[..., 4] = -1
    for image in range(images - 1):
        for row in range(3):
            perturbed = boxes[image, row] + generator.uniform(-0.6, 0.6, 4)
            truth[image, row] = [*perturbed, generator.integers(CLASSES), row == 2]
    return torch.from_numpy(table), torch.from_numpy(truth)


def as_rows(table, truth):
    return [(tuple(map(float, row[:4])), [float(s) for s in row[4:]]) for row in table], [
        [float(v) for v in row] for row in truth if row[4] != -1
    ]


def plain_vanish(rows, true):
    return sum(math.log(1 - score) for _, scores in rows for score in scores)


def plain_fabricate(rows, true):
    return sum(math.log(max(scores)) for _, scores in rows)


def plain_mislabel(rows, true):
    total = 0.0
    for (box, scores), row in itertools.product(rows, true):
        if not row[5] and overlap(box, [*row[:5], 0]) > losses.ON:
            label = int(row[4])
            other = max(score for index, score in enumerate(scores) if index != label)
            total += math.log(other) - math.log(scores[label])
    return total


PLAIN = {"vanish": plain_vanish, "fabricate": plain_fabricate, "mislabel": plain_mislabel}


def test_all_objectives_are_tested():
    assert set(PLAIN) == set(losses.LOSSES)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("seed", range(4))
def test_objective_equals_a_loop_over_candidates(name, seed):
    table, truth = candidates(seed)
    expected = [PLAIN[name](*as_rows(*pair)) for pair in zip(table, truth, strict=True)]
    assert losses.LOSSES[name](table, truth).tolist() == pytest.approx(expected, rel=1e-9)
    assert expected[0] != 0 and (name != "mislabel" or expected[-1] == 0)


@pytest.mark.parametrize("name", PLAIN)
def test_loss_does_not_depend_on_the_batch(name):
    table, truth = candidates()
    alone = torch.cat([losses.LOSSES[name](table[i : i + 1], truth[i : i + 1]) for i in range(len(table))])
    assert torch.equal(alone, losses.LOSSES[name](table, truth))


@pytest.mark.parametrize("name", PLAIN)
def test_gradients_are_finite_at_extreme_scores_and_without_objects(name):
    table, truth = candidates()
    table[0, :5, 4:], table[0, 5:10, 4:] = 0.0, 1.0
    table.requires_grad_()
    (gradient,) = torch.autograd.grad(losses.LOSSES[name](table, truth).sum(), table)
    assert torch.isfinite(gradient).all() and (gradient[1, :, 4:] != 0).any()
    assert (gradient[..., :4] == 0).all()  # box coordinates get no gradient


def test_each_objective_increases_towards_its_aim():
    table, truth = candidates()
    row, label = 0, int(truth[0, 0, 4])
    for name, change in (("vanish", -0.005), ("fabricate", 0.005)):
        perturbed = table.clone()
        perturbed[..., 4:] += change
        assert (losses.LOSSES[name](perturbed, truth) > losses.LOSSES[name](table, truth)).all()
    perturbed = table.clone()
    perturbed[0, row, 4 + label] /= 2
    assert losses.mislabel(perturbed, truth)[0] > losses.mislabel(table, truth)[0]


def detector():
    return TorchDetector(PlantedDetector().eval())


def test_loss_names_are_resolved_and_unknown_ones_raise():
    images, cell_classes = scenes(4)
    pixels, truth = torch.from_numpy(images), torch.from_numpy(boxes_of(cell_classes))
    own, output = losses.loss_and_detections(detector(), pixels, truth, losses.DETECTOR)
    assert own.dtype == torch.float64 and output.shape == (4, 100, 6)
    for alias in losses.ALIASES:
        assert torch.equal(losses.loss_and_detections(detector(), pixels, truth, alias)[0], own)
    for name in losses.LOSSES:
        assert torch.equal(losses.loss_and_detections(detector(), pixels, truth, name)[1], output)
    with pytest.raises(SpecError, match=r"Detection has no attack loss 'vanich'.*Did you mean 'vanish'"):
        losses.loss_and_detections(detector(), pixels, truth, "vanich")
    with pytest.raises(AttackError, match="use loss=mislabel"):
        Detection().attack_loss(output, truth, name="ce", target_classes=torch.zeros(4))


def test_ranking_loss_is_the_damage_for_every_name():
    context = context_of("detection")
    output, truth = torch.from_numpy(context.outcomes.output), context.targets
    for name in ("damage", "detector", "vanish"):
        assert torch.equal(Detection().attack_loss(output, truth, name=name), Detection().damage(output, truth))


def counted_share(box, covered, fine=16):
    """Return the covered share of a box by counting `fine` x `fine` points in every pixel."""
    height, width = covered.shape
    points = (np.arange(max(height, width) * fine) + 0.5) / fine
    rows = points[(points > box[1]) & (points < box[3]) & (points < height)]
    columns = points[(points > box[0]) & (points < box[2]) & (points < width)]
    under = covered[np.floor(rows).astype(int)][:, np.floor(columns).astype(int)]
    return under.mean() if under.size else 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("step", [1.0, 1 / 16])
def test_covered_share_matches_counting_points(seed, step):
    generator = np.random.default_rng(seed)
    corner = np.round(generator.uniform(0, 12, (3, 4, 2)) / step) * step
    boxes = np.concatenate([corner, corner + np.round(generator.uniform(1, 8, (3, 4, 2)) / step) * step], axis=2)
    covered = generator.random((3, 20, 24)) < 0.4
    covered[0] = False
    covered[0, 4:15, 3:9] = True
    share = losses.covered_share(torch.from_numpy(boxes), torch.from_numpy(covered))
    expected = [[counted_share(box, image) for box in rows] for rows, image in zip(boxes, covered, strict=True)]
    assert share.numpy() == pytest.approx(np.array(expected), abs=1e-9)


def test_covered_share_of_empty_and_full_masks():
    boxes = torch.tensor([[[2.0, 3, 8, 9], [0, 0, 0, 0], [0, 0, 12, 12]]])
    assert losses.covered_share(boxes, torch.zeros(1, 12, 12, dtype=torch.bool)).tolist() == [[0, 0, 0]]
    assert losses.covered_share(boxes, torch.ones(1, 12, 12, dtype=torch.bool)).tolist() == [[1, 0, 1]]


def test_box_is_ignored_if_more_than_half_is_covered():
    truth = torch.tensor([[[2.0, 2, 8, 8, 1, 0], [2, 2, 8, 9, 0, 0], [2, 2, 8, 6, 1, 1], [0, 0, 0, 0, -1, 0]]])
    covered = torch.zeros(1, 12, 12, dtype=torch.bool)
    covered[0, :5] = True  # exactly half of the first, less of the second, more of the third, which is ignored anyway
    assert torch.equal(Detection().mask_covered_targets(truth, covered), truth)
    covered[0, 5, 2] = True
    changed = Detection().mask_covered_targets(truth, covered)
    assert changed[0, :, 5].tolist() == [1, 0, 1, 0] and truth[0, 0, 5] == 0
    assert torch.equal(changed[..., :5], truth[..., :5])


@pytest.mark.parametrize("seed", range(3))
def test_explained_log_odds_equal_a_loop(seed):
    table, _ = candidates(seed)
    best = torch.cat([table[:, 0, :4] + 0.3, torch.tensor([[0.9, 1.0]] * 4, dtype=torch.float64)], dim=1)
    expected = []
    for rows, box in zip(table.tolist(), best.tolist(), strict=True):
        weights = [(overlap(row[:4], [*box[:4], 0, 0]), row[4 + int(box[5])]) for row in rows]
        near = [(w, math.log(s) - math.log(1 - s)) for w, s in weights if w > losses.NEAR]
        expected.append(sum(w * odds for w, odds in near) / sum(w for w, _ in near))
    assert losses.log_odds_on(table, best).tolist() == pytest.approx(expected, rel=1e-9)


def test_lowest_log_odds_without_gradient_if_no_candidate_is_near():
    table, _ = candidates()
    table.requires_grad_()
    far = torch.tensor([[100.0, 100, 110, 110, 0.9, 1]] * 4, dtype=torch.float64)
    odds = losses.log_odds_on(table, far)
    assert odds.tolist() == pytest.approx([math.log(losses.TINY / (1 - losses.TINY))] * 4)
    assert (torch.autograd.grad(odds.sum(), table)[0] == 0).all()


def test_similarity_is_zero_without_the_detection_and_never_nan():
    nothing = [0.0, 0, 0, 0, 0, -1]
    best = torch.tensor([[2.0, 2, 8, 8, 0.9, 1]] * 6)
    tables = torch.tensor(
        [
            [[2.0, 2, 8, 8, 0.8, 1], nothing],  # the same box, lower score
            [[2.0, 2, 8, 5.5, 0.8, 1], nothing],  # IoU of seven twelfths
            [[2.0, 2, 8, 5, 0.8, 1], nothing],  # IoU of exactly one half does not count
            [[2.0, 2, 8, 8, 0.8, 0], nothing],  # another class
            [[20.0, 20, 28, 28, 0.8, 1], nothing],  # another position
            [nothing, nothing],
        ]
    )
    assert losses.similarity(tables, best).tolist() == pytest.approx([0.8, 0.8 * 7 / 12, 0, 0, 0, 0], abs=1e-6)
    several = torch.tensor([[[2.0, 2, 8, 5.5, 0.9, 1], [2, 2, 8, 8, 0.6, 1]]])
    assert losses.similarity(several, best[:1]).tolist() == pytest.approx([0.6], abs=1e-6)
    empty = torch.tensor([[3.0, 3, 3, 3, 0.9, 1]])
    assert losses.similarity(several, empty).tolist() == [0]  # a detection without area has no overlap with anything


def test_inside_selects_pixels_by_their_centers():
    boxes = torch.tensor([[1.0, 2, 4, 4, 0.9, 0], [0.5, 0.5, 1.5, 1.5, 0.9, 0], [-5, -5, 99, 99, 0.9, 0]])
    region = losses.inside(boxes, 6, 7)
    assert region[0].nonzero().tolist() == [[2, 1], [2, 2], [2, 3], [3, 1], [3, 2], [3, 3]]
    assert region[1].nonzero().tolist() == [[0, 0]]
    assert region[2].all()
