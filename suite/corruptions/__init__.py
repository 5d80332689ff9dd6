"""Common corruptions of images by cameras, weather and codecs, batched."""
