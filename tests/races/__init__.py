"""One file per race of the catalogue, each with its mutants in tests/mutants/catalog/races.py."""
