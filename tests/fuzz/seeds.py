"""Attacks of one seed each, for a while, and what to paste when one of them finds something."""

from tests.fuzz.budget import SEED, rounds

__all__ = ["for_a_while"]


def for_a_while(attack):
    """Call `attack` with the name of one round after the other.

    Raises:
        AssertionError: names the round that failed, and the seed that comes to it again.
    """
    for name in rounds():
        try:
            attack(name)
        except Exception as error:
            message = f"round {name!r}, PINPAGE_FUZZ_SEED={SEED}: {error!r}"
            raise AssertionError(message) from error
