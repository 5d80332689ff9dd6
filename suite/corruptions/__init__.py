"""Common corruptions of images, batched: what a camera, the weather and a codec do to a picture without malice."""
