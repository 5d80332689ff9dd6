"""The runner: plans cells, prepares tasks and models, measures them and stores the records."""
