"""Data sets on disk, a module per format, and what the formats share."""
