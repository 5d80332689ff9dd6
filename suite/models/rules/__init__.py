"""Models that are not trained: sentiment by rules."""
