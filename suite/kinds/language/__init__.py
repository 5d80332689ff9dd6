"""Language: the next character of a text, scored in bits."""
