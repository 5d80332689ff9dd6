"""Autoencoding: an image, its code, and its reconstruction."""
