"""Reference results of a small matrix of cells, to show that refactoring changes no number."""
