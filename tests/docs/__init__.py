"""Documents are run like code: see collect.py."""
