"""Mutants that a machine makes, beside those that `tests/mutants` keeps."""
