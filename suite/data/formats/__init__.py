"""Data sets on disk: one module per format, and what the formats share."""
