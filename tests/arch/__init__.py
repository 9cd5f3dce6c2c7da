"""The architecture as tests: the table, the rules, and a planted violation for each rule."""
