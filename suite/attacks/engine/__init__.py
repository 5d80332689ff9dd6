"""The attack engine: the problem, gradient ascent, faster gradients, and validation of results."""
