"""Detection: a box, a class and a score for each object of an image."""
