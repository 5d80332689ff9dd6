"""Built-in tasks and models, one readable file per kind."""
