"""Attributions of lists of features (words, characters, latents) and their faithfulness."""
