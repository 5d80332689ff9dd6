"""Benchmarks, one readable file per kind."""
