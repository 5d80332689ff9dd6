"""What the numbers mean, in plain words."""

import streamlit as st

TEXT = """
### How to read an interval
A test set is a sample: other test images would give slightly other numbers. A 95 % interval is made so that in 95 of
100 repetitions it would hold the true value. If two models' numbers differ by less than their intervals are wide,
look at the ties before saying that one is better.

### How to read ties and ranks
Two models are compared on the samples they share: how often was only the first right, how often only the second
(exact McNemar test)? As a board makes many comparisons, the tests are made stricter (Holm) so that all its
differences together are wrong with at most 5 % probability. Models that **share a letter** were not told apart. That
does not prove that they are equal: more samples might tell them apart. The rank range says how many models are
clearly better and clearly worse.

### What each measure means
| measure | in plain words | better |
|---|---|---|
| accuracy | share of test samples answered right | higher |
| balanced accuracy, macro F1 | the same with every class counted alike, however rare | higher |
| recall of a class | share of that class that was found | higher |
| mAP | how well boxes are found: average precision, over classes and overlaps (IoU) of 0.5 to 0.95 | higher |
| AP50, AP75 | the same where a box must overlap its object by 0.5, or by 0.75 | higher |
| AR1, AR10, AR100 | share of objects found, at the same overlaps, by the best 1, 10 or 100 boxes of an image | higher |
| LRP error | missed objects, false boxes and badly placed boxes in one number; 0 is perfect, 1 the worst | lower |
| found, mislabelled | share of objects with a box of their class; with a box, but of another class only | – |
| disappearance | share of objects without any box: missed, or made to vanish by an attack | lower |
| hallucinations | boxes where nothing is, per image | lower |
| mIoU | of the pixels that are of a class or are called so, the share that is both; the mean over classes | higher |
| robust accuracy, mAP, mIoU | what is left of it after an attacker changed every image, within the size eps | higher |
| ECE | how far confidence and the share of right answers lie apart, on average | lower |
| ECE noise floor | the ECE that an honest model would show by chance, with this many samples | – |
| pixel ECE | the ECE of the classes of pixels; most are easy background, so look at the next two as well | lower |
| foreground, boundary ECE | the same for objects alone, and for pixels near a border between classes | lower |
| D-ECE | the same for boxes: how far scores and the share of boxes that hit lie apart | lower |
| LaECE, LaACE | the same by class, where a score should also say how well its box fits the object | lower |
| OCE | how far the scores at each object lie from the truth; an object that is missed costs 1 | lower |
| NLL, Brier | how much the model's probabilities missed the truth | lower |
| AURC | share of wrong answers, averaged over refusing more and more of the least sure ones | lower |
| temperature | by how much confidence had to be toned down (above 1) or up (below 1) | – |
| deletion AUC | how long the answer survives when the pixels called important are removed | lower |
| insertion AUC | how soon the answer returns when they are put back | higher |
| context deletion AUC | deletion outside the explained object only; no map does well if the model ignores it | lower |
| pointing game | how often the strongest pixel of a map lies inside the object: plausible, not faithful | – |
| energy inside | how much of a map's weight lies inside the object: plausible, not faithful | – |
| bits per character | how surprised a language model is by the next character of real text, on average | lower |
| bits per byte | the same per byte, to be compared across alphabets | lower |
| code length | bits per pixel of an image's code, and of the pixels that its mean leaves open; no bound | lower |
| ELBO, NLL of images | bounds on what an image costs to write down; the NLL, from many codes, is tighter | lower |
| active units | numbers of the code that a model uses | – |
| KID, FID | distances between generated and real images, by the features of a classifier | lower |
| precision, recall | share of generated images that look real, and of real ones that look like generated | higher |
| density, coverage | how many real images a generated one lies among; share of real ones beside one | higher |
| memorised | how much of what is generated stands in the training samples, word for word or nearly so | – |
| comprehensiveness | fall of the score when the words called important are deleted | higher |
| sufficiency | fall of the score when only these are left | lower |
| convergence delta | share of what integrated gradients have to add up to that they miss | lower |
| infidelity | how badly a gradient-like map predicts what small changes of pixels do | lower |

**linf** sizes bound the change of every single pixel, **l2** sizes bound the change of the image as a whole, a
**patch** may change anything in a small part of the image. Pixels go from 0 to 1.

Attacks on texts are sized by the **words** or **characters** they change, a **trigger** by the words it puts before
every text. Attacks on embeddings move numbers that no text has: they bound what could be found among texts.
A **proxy** stands for a question that has no standard measure, as robustness and calibration of a generator.

### Checks and controls
A weak attack makes any model look robust. So every attack is checked: with size 0 nothing may change; a larger size
must not help the model; twice the steps must neither help it nor find much more; random change of equal size must
do less. Explanations are compared with a random map; a method that does not beat it explains nothing. **–** means not
measured, never zero. What failed stays on the board, with its reason.

### What the verdict on a number means
- **✓ valid**: every check that applies has passed. Take the number as it stands, within its interval.
- **? suspect**: there is a number, but a check of it failed. The attack was not at its best, and a better one may find
  more: the true robust accuracy, mAP or mIoU is **at most** this number, and may be far lower. It is shown as
  **≤ 71.2 ?**, shares no letter, gets no rank, and stands below every valid number where that measure ranks.
- **✗ invalid**: there is no number to believe. It is undefined, its measurement failed, or it was skipped.

The reason for every suspect or invalid number stands in the notes under the board and on the page of the model. A
verdict is about the number, not about the model: a good model whose attack was too weak is suspect, too.

### What was not tested
- Only the attacks listed were tried. A stronger or a different one may succeed, so what is robust is an upper bound.
- Test samples come from the same source as the training samples; other cameras, places or times were not tested.
- Intervals cover the choice of test samples. They do not cover training again with another seed.
- Fairness between groups of people, privacy, and tampered training data were not tested.
- Deletion and insertion show what the model uses, not whether it uses it for good reasons.
"""


def show() -> None:
    """Show the explanations."""
    st.header("About the numbers")
    st.markdown(TEXT)
