"""The tests.  Where a new one goes: tests/README.md."""
