"""Attribution: which parts of an input an output rests on, and whether that answer can be believed.

    explained     what is explained: inputs, the scalar and the score, one seed per sample
    protocol      what a method is, how its answer becomes a map, and the random control
    methods       saliency, integrated gradients, SmoothGrad, occlusion, Grad-CAM
    cells         the features that are deleted: square cells, and their order
    curves        deletion and insertion curves, the baselines they end in, and the area under them
    infidelity    how well a map predicts what small changes of the input do
    faithfulness  all of it, for a set of methods, as values per sample
    rationale     comprehensiveness and sufficiency of lists of features: words, characters, numbers of a latent
    rationale_methods, rationale_curves   its methods, and what is left of a score without some features
    measures      the values per sample as measures with intervals, each compared with the random control

This file imports nothing: the modules below need torch, and the methods load captum (2.7 s) on their first call.
"""
