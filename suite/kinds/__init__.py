"""Kinds of task, behind one interface, so that no axis depends on a particular kind."""
