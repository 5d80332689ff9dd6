"""Everything that is computed from outputs and targets alone: numpy and scipy, no torch."""
