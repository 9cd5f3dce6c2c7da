"""One-line bugs that the suite must notice, and the harness that plants them."""
