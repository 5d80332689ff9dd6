"""Attribution: which parts of an input a prediction depends on, and how faithful such explanations are.

    maps          attribution maps of images: methods, deletion and insertion curves, infidelity, localization
    features      attributions of lists of features (words, characters, latents): comprehensiveness and sufficiency

This file imports nothing: the modules below need torch.
"""
