"""Fuzzers: each goes on until its time is over; `make fuzz` gives them one, and a seed."""
