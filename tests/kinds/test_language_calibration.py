"""Calibration of language models: planted models, errors by hand, temperature, and the entropy gap."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from suite.data.digests import in_digest_order
from suite.errors import DataError, NotApplicableError
from suite.kinds.base import Outcomes, Prediction
from suite.kinds.language.calibration import character_events, continued, entropy_gap, language_calibration
from suite.kinds.language.kind import Language
from suite.models.adapters.sampling import Sampled
from tests.kinds.tables import assert_same, method_table, part, prediction_of, table_of

KIND = Language()


def planted(windows=150, scored=32, classes=12, seed=0, sharpness=1.0):
    """Return logits and characters drawn from them; `sharpness` above 1 makes the model overconfident."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, size=(windows, scored, classes))
    chances = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    numbers = generator.random((windows, scored, 1))
    targets = (chances.cumsum(axis=2) < numbers).sum(axis=2).clip(max=classes - 1)
    before = generator.normal(size=(windows, 5, classes))  # characters that are not scored
    return np.concatenate([before, logits * sharpness], axis=1).astype(np.float32), targets


def table(output, targets, **fields):
    return method_table(prediction_of(KIND.kind(), output, targets, **fields), character_events)


def calibrated(predicted, targets):
    """Return the measures of distributions by name."""
    prediction = Prediction("softmax", np.asarray(predicted), None, targets)
    return {row.metric: row for row in language_calibration(method_table(prediction, character_events))}


def rows(output, targets):
    return calibrated(KIND.probabilities(output), targets)


def naive(chances, truth, scored, bins=15):
    """Return the binned error of events, by a loop over events."""
    sums = {}
    for chance, true in zip(chances.ravel(), truth.ravel(), strict=True):
        bin_ = max(0, math.ceil(chance * bins - 1e-12) - 1)
        sums[bin_] = sums.get(bin_, 0.0) + chance - true
    return sum(map(abs, sums.values())) / scored


def test_errors_equal_a_loop_over_events():
    output, targets = planted(windows=6, scored=5, classes=4)
    measures = rows(output, targets)
    chances = KIND.probabilities(output)[:, -5:]
    onehot = np.eye(4)[targets]
    assert measures["full_ece"].value == pytest.approx(naive(chances, onehot, 30))
    top, correct = chances.max(axis=2), chances.argmax(axis=2) == targets
    assert measures["token_ece"].value == pytest.approx(naive(top, correct, 30))
    own = (chances * onehot).sum(axis=2)
    assert measures["nll"].value == pytest.approx(-np.log(own).mean())
    assert measures["brier"].value == pytest.approx(((chances - onehot) ** 2).sum(axis=2).mean())


def test_calibrated_model_has_errors_at_the_noise_floor():
    output, targets = planted()
    measures = rows(output, targets)
    assert measures["token_ece"].value < 0.03
    assert measures["token_ece"].params["distinguishable_from_calibrated"] is False
    assert measures["token_ece_noise_floor"].lo < measures["token_ece"].value < measures["token_ece_noise_floor"].hi
    assert measures["full_ece"].value < 0.05
    assert sum(table(output, targets).facts["reliability"]["count"]) == targets.size
    overconfident = rows(*planted(sharpness=2.0))
    assert overconfident["token_ece"].lo > 0.1 and overconfident["full_ece"].lo > 0.1
    assert overconfident["token_ece"].params["distinguishable_from_calibrated"] is True
    assert overconfident["nll"].value > measures["nll"].value
    for measure in measures.values():
        assert measure.lo <= measure.value <= measure.hi and measure.n in (150, targets.size)


def test_full_ece_detects_miscalibration_that_token_ece_misses():
    # the prediction has probability 1/2 and is correct half the time; the rest is predicted uniform, but always class 1
    chances = np.tile([0.5, 1 / 6, 1 / 6, 1 / 6], (40, 10, 1))
    targets = np.tile([0, 1], (40, 5))
    measures = calibrated(chances, targets)
    assert measures["token_ece"].value == pytest.approx(0, abs=1e-12)
    assert measures["full_ece"].value == pytest.approx(0, abs=1e-12)  # that of the three others is correct
    skewed = calibrated(np.tile([0.5, 0.3, 0.1, 0.1], (40, 10, 1)), np.tile([0, 3], (40, 5)))
    assert skewed["full_ece"].value == pytest.approx(0.3 + 0.3)


def test_planted_temperature_is_recovered():
    output, targets = planted(sharpness=2.0)
    rescaling = KIND.rescaling(output, targets)
    assert rescaling.value == pytest.approx(2.0, rel=0.05)
    assert (rescaling.n, rescaling.ends) == (len(output), None)
    better = rows(rescaling.apply(output), targets)
    assert better["token_ece"].value < 0.03
    with pytest.raises(NotApplicableError, match="no temperature"):
        KIND.rescaling(np.eye(4, dtype=np.float32)[None, :2] * 9, np.array([[0, 1]]))


def test_zero_probabilities_and_invalid_distributions_are_undefined():
    chances = np.tile([1.0, 0.0], (3, 2, 1))
    nll = calibrated(chances, np.array([[0, 0], [0, 1], [0, 0]]))["nll"]
    assert nll.value is None and "1 characters" in nll.reason
    for bad in (np.full((1, 2, 2), np.nan), np.full((1, 2, 2), 0.4), np.tile([1.5, -0.5], (1, 2, 1))):
        with pytest.raises(DataError):
            calibrated(bad, np.zeros((1, 2), int))


class Draws:
    """Draws from given logits, made flatter or sharper."""

    def __init__(self, output, heat):
        self.logits, self.heat = torch.from_numpy(output).double(), heat

    def read(self, codes):
        class Reading:
            ids = codes

        return Reading

    def continue_texts(self, prompts, length, *, seeds, temperature):
        rows = prompts[:, 0]
        logs = self.logits[rows][:, -length:].log_softmax(dim=2)
        generator = torch.Generator().manual_seed(seeds[0] % 1000)
        drawn = torch.multinomial((logs * self.heat).exp().flatten(0, 1), 1, generator=generator).view(
            len(rows), length
        )
        return Sampled(drawn, -logs.gather(2, drawn[..., None])[..., 0] / math.log(2))


def gap(sharpness):
    return whole_gap(sharpness)[0]


def planted_outcomes(sharpness=1.0, heat=1.0, windows=80):
    output, targets = planted(windows=windows, sharpness=sharpness)
    codes = torch.arange(windows)[:, None].expand(-1, 37)
    ids = tuple(map(str, range(windows)))
    return Outcomes(ids, output, targets, (), 0, KIND.kind(), Draws(output, heat), None, lambda: codes)


def whole_gap(sharpness, heat=1.0):
    return entropy_gap(table_of(planted_outcomes(sharpness, heat), continued))


def test_entropy_gap_is_zero_if_calibrated_and_negative_if_overconfident():
    calibrated_gap, own = whole_gap(1.0)
    assert calibrated_gap.lo < 0 < calibrated_gap.hi and calibrated_gap.n == 64 and calibrated_gap.unit == "bits"
    assert gap(2.0).hi < -0.3
    assert gap(0.5).lo > 0.2
    output, targets = planted(windows=80)
    rows = KIND.tally(output, targets)
    assert own.value - calibrated_gap.value == pytest.approx(
        rows[in_digest_order(map(str, range(80)))[:64], 0].mean() / 32
    )


def test_interval_of_an_error_above_one_is_not_clipped():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 5, (40, 16))
    predicted = np.where(generator.random((40, 16)) < 0.3, targets, (targets + 1) % 5)
    chances = np.full((40, 16, 5), 1e-4)
    np.put_along_axis(chances, predicted[..., None], 1 - 4e-4, axis=2)
    rows = calibrated(chances, targets)
    assert 1 < rows["full_ece"].lo < rows["full_ece"].value < rows["full_ece"].hi <= 2
    assert rows["token_ece"].hi <= 1


@pytest.mark.parametrize("chosen", [range(3, 40), [5, 2, 71, 8]])
def test_summary_of_some_windows_equals_a_run_on_them(chosen):
    output, targets = planted(windows=80, sharpness=1.5)
    chosen = list(chosen)
    whole, direct = table(output, targets), table(output[chosen], targets[chosen])
    assert_same(language_calibration(whole.take(chosen)), language_calibration(direct))


def test_entropy_gap_of_some_windows_is_that_of_their_continuations():
    given = planted_outcomes(windows=60)  # all windows are continued
    whole = table_of(given, continued)
    chosen = [7, 3, 50, 20, 21]
    gap, own = entropy_gap(whole.take(chosen))
    bits = whole["own_bits"][chosen]
    assert own.value == pytest.approx(bits.mean()) and (own.n, own.params) == (5, {"characters": 32})
    tally = KIND.tally(*(getattr(part(given, chosen), name) for name in ("output", "targets")))
    assert gap.value == pytest.approx((bits - tally[:, 0] / 32).mean())


def test_entropy_gap_is_undefined_if_no_window_was_continued():
    whole = table_of(planted_outcomes(), continued)
    left = np.isnan(whole["own_bits"])
    assert left.sum() == 80 - 64
    assert {row.reason for row in entropy_gap(whole.take(left))} == {"the model continued none of these windows"}


def test_intervals_widen_with_the_level():
    output, targets = planted(windows=40, sharpness=2.0)
    narrow, wide = (language_calibration(replace(table(output, targets), level=level)) for level in (0.8, 0.99))
    for near, far in zip(narrow, wide, strict=True):
        assert (
            near.value == far.value and far.lo <= near.lo <= near.hi <= far.hi and far.hi - far.lo > near.hi - near.lo
        )
        assert (near.level, far.level) == (0.8, 0.99)
