"""Data sets made from installed packages or from archives of the package index."""
