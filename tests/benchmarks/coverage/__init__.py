"""Coverage of the suite's intervals, by simulation with known truth; see `__main__`."""
