"""Records of a small matrix, kept so that a change of structure can show that no number moved."""
