"""Records: what is stored for one cell, typed and self-describing, and the one reader of it."""
