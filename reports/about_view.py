"""The page that explains the numbers."""

import pandas as pd
import streamlit as st

from suite.decorators import page
from suite.metrics.catalogue import Metric
from suite.registry import REGISTRY
from suite.reports import frames
from suite.reports.pages import PageContext
from suite.reports.parts import show_table
from suite.reports.text import entries

INTERVALS = """
### Intervals
A test set is a sample: another one would give slightly different numbers. Of 100 intervals at the 95 % level, at least
about 95 contain the true value; with too few samples for that, no interval is shown. Samples in groups, such as several
photographs of one patient, count as groups. If two models differ by less than the width of their intervals, check the
ties before you call one of them better.

### Ties and ranks
Two models are compared on the samples that they share: the exact McNemar test counts the samples that only the first
or only the second gets right. For other metrics, such as mIoU or mAP, and for samples in groups, the predictions of
both models are swapped on a random half of the samples or groups, many times: the models differ if hardly any swap
makes the metric differ as much as without swaps. A board makes many comparisons, so the tests are adjusted (Holm): the
probability of any false difference in a column is at most 5 %. Models that **share a letter** do not differ
significantly. This does not prove that they are equal; more samples might separate them. The range of ranks shows how
many models are significantly better and worse.

"""

READING = """
**linf** sizes bound the change of every single pixel, **l2** sizes bound the change of the image as a whole, a
**patch** may change anything in a small part of the image. Pixel values are in [0, 1].

Attacks on texts are sized by the **words** or **characters** that they change, a **trigger** by the words that it
inserts before every text. Attacks on embeddings reach values that no text has; they bound what an attack on texts
could achieve. A **proxy** stands in where there is no standard metric, such as for the robustness or the calibration of
a generator.

### Checks and controls
A weak attack makes any model look robust, so every attack is checked: at size 0 it must change nothing; with a
larger size or twice the steps it must not succeed on fewer samples, and with twice the steps not on many more; random
perturbations of the same size must do less damage. Explanations are compared with a random map; a method that does not
beat it is uninformative. **–** means not measured, never zero. Failed measurements stay on the board, with a reason.

### Verdicts
- **✓ valid**: every applicable check passed. The number is reliable within its interval.
- **? suspect**: the number failed a check. The attack was not at its strongest, and a better one may lower the result:
  the true number is **at most** this one, and may be far lower. It is shown as **≤ 71.2 ?**,
  gets no letter and no rank, and is listed below every valid number of the ranking column.
- **✗ invalid**: there is no usable number. It is undefined, its measurement failed, or it was skipped.

The reason for every suspect or invalid number is in the notes below the board and on the page of the model. A verdict
is about the number, not the model: even a good model gets a suspect number from a weak attack.

### Limitations
- Only the attacks listed were run. A stronger or different one may succeed, so a robust accuracy is an upper bound.
- Test samples come from the same source as the training samples; other cameras, places or times were not tested.
- Intervals reflect the choice of test samples, not the variation between training runs.
- Fairness between groups of people, privacy, and poisoned training data were not tested.
- Deletion and insertion show what the model uses, not whether it uses it for good reasons.
"""


@page(title="About the numbers", needs="nothing", rank=3)
def about(context: PageContext) -> None:
    """Show the explanations, and what every metric of the installation and of the store means."""
    st.header("About the numbers")
    st.markdown(INTERVALS)
    st.markdown("### Metrics")
    table = frames.catalogue_frame(catalogue(context.rows))
    columns = {"meaning": st.column_config.Column(width=620)}
    show_table(table, height=620, column_config=columns)
    st.markdown(READING)


def catalogue(rows: pd.DataFrame) -> list[Metric]:
    """Return the declarations of all installed metrics and of the metrics of stored rows, by title."""
    stored = [] if rows.empty else entries(rows.drop_duplicates("entry"))
    known = {(metric.name, metric.meaning): metric for metric in (*stored, *installed()) if metric.meaning}
    return sorted(known.values(), key=lambda metric: (metric.title.lower(), metric.name))


@st.cache_resource(show_spinner="Collecting the metrics")
def installed() -> list[Metric]:
    """Return the declarations of all installed metrics: of every registered axis for every registered kind."""
    kinds = [entry.factory() for entry in REGISTRY.names("kind")]
    axes = [entry.factory() for entry in REGISTRY.names("axis")]
    return list(dict.fromkeys(metric for axis in axes for kind in kinds for metric in axis.entries(kind)))
