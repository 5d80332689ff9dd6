"""The attack engine: the problem, gradient ascent, constraints, random streams, and validation of results."""
