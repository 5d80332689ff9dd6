"""The page that explains the numbers."""

import streamlit as st

TEXT = """
### Intervals
A test set is a sample: another one would give slightly different numbers. Of 100 intervals at the 95 % level, about 95
contain the true value. If two models differ by less than the width of their intervals, check the ties before you call
one of them better.

### Ties and ranks
Two models are compared on the samples that they share: the exact McNemar test counts the samples that only the first
or only the second gets right. A board makes many comparisons, so the tests are adjusted (Holm): the probability of any
false difference in a column is at most 5 %. Models that **share a letter** do not differ significantly. This
does not prove that they are equal; more samples might separate them. The range of ranks shows how many models are
significantly better and worse.

### Metrics
| metric | meaning | better |
|---|---|---|
| accuracy | share of test samples that are classified correctly | higher |
| balanced accuracy | the same with every class weighted equally, however rare | higher |
| macro F1 | F1 score (harmonic mean of precision and recall), averaged over classes | higher |
| recall of a class | share of the class that is predicted correctly | higher |
| mAP | detection: average precision, averaged over classes and IoU thresholds from 0.5 to 0.95 | higher |
| AP50, AP75 | mAP at an IoU threshold of 0.5 or 0.75 | higher |
| AR1, AR10, AR100 | average recall over IoU 0.5-0.95, at most 1, 10 or 100 detections per class and image | higher |
| LRP error | missed objects, false positives and localization in one number; 0 is perfect, 1 the worst | lower |
| detected, wrong class | share of objects with a box of their class; with boxes of other classes only | – |
| disappearance | share of objects without any box: missed, or hidden by an attack | lower |
| false positives | boxes without an object, per image | lower |
| mIoU | pixels both predicted and true, divided by those that are either; mean over classes | higher |
| robust accuracy, mAP, mIoU | the metric after an attack has perturbed every input, within the size eps | higher |
| ECE | mean gap between confidence and accuracy | lower |
| ECE noise floor | the ECE that a perfectly calibrated model would have by chance, with this number of samples | – |
| pixel ECE | the ECE of pixel classes; most pixels are easy background, so see the next two as well | lower |
| foreground, boundary ECE | the same for objects only, and for pixels near a border between classes | lower |
| D-ECE | the ECE of boxes: mean gap between score and precision | lower |
| LaECE, LaACE | the same per class, where a score should also predict how well its box fits the object | lower |
| OCE | error of the scores at each object; a missed object counts 1 | lower |
| NLL, Brier | proper scoring rules for the predicted probabilities | lower |
| AURC | error rate of the samples kept, averaged while the least confident ones are rejected | lower |
| temperature | scaling of the confidence: above 1 lowers it, below 1 raises it | – |
| deletion AUC | mean score while the pixels with the highest attribution are deleted | lower |
| insertion AUC | mean score while these pixels are inserted | higher |
| context deletion AUC | deletion outside the explained object; no map helps if the model ignores the context | lower |
| pointing game | how often the maximum of a map lies inside the object: plausibility, not faithfulness | – |
| energy inside | share of a map's weight inside the object: plausibility, not faithfulness | – |
| bits per character | mean surprisal of the next character of real text under a language model | lower |
| bits per byte | the same per byte, comparable across alphabets | lower |
| code length | bits per pixel of an image's code, and of the pixels given the mean of the code; not a bound | lower |
| ELBO, NLL of images | bounds on the cost of an image; the NLL, from many sampled codes, is tighter | lower |
| active units | latent dimensions that a model uses | – |
| KID, FID | distances between generated and real images in the features of a classifier | lower |
| precision, recall | share of generated images that look real, and of real images that look generated | higher |
| density, coverage | real neighborhoods that a generated image lies in; share of real images with one nearby | higher |
| memorized | share of the generated data that is a copy, or nearly a copy, of training data | – |
| comprehensiveness | drop of the score when the words with the highest attribution are deleted | higher |
| sufficiency | drop of the score when only these are kept | lower |
| convergence delta | relative error by which integrated gradients violate completeness | lower |
| infidelity | error of the change of the score that a gradient-like map predicts for small pixel changes | lower |

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
  the true robust accuracy, mAP or mIoU is **at most** this number, and may be far lower. It is shown as **≤ 71.2 ?**,
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


def show() -> None:
    """Show the explanations."""
    st.header("About the numbers")
    st.markdown(TEXT)
