"""Attacks that draw new examples for as long as one chooses."""
