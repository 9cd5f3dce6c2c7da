"""Requests for memory, one module per consumer: each serves one and says what came of it."""
