"""What the race tests share: the bench of the shipped races."""

from pinlab.races.bench import NR_FRAMES, Bench

__all__ = ["NR_FRAMES", "Bench"]
