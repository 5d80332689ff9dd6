"""The runner: plans cells, prepares tasks and models, measures, and stores."""
