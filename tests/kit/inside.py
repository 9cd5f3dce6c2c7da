"""The only place that looks inside what shipped code keeps to itself, so that others need not.

Each of these is a test's way to an inside that has no public face on purpose: nobody but a test
that spoils, stops or counts it has any use for it.  A rewrite of the inside mends its line here.
"""

__all__ = [
    "alloc_pages_through",
    "buffers",
    "calls_in_flight",
    "isolated",
    "nodes",
    "owner_table",
    "privates",
    "quiet",
    "shards",
    "threads",
    "writes",
]


def shards(registry):
    """The shards: tests stop a writer between two lines, and see that each lock is free again."""
    return registry._shards


def nodes(registry):
    """What binds a thread to its node: tests look at the batch that they stand in."""
    return registry._nodes


def privates(registry):
    """The table of odd privates: tests count what it still holds, and order its lock."""
    return registry._privates


def owner_table(registry):
    """Who is registered and who leaves: tests stop an owner that is half gone."""
    return registry._owners


def writes(registry):
    """Changes of many pins: tests see which ranges go in one step, which callers cannot tell."""
    return registry._writes


def calls_in_flight(registry):
    """The locks of callbacks under way: after any interrupt none may be held."""
    return owner_table(registry)._in_flight.values()


def threads(device):
    """The threads of a real device: tests hold a page for a request that is never sent."""
    return device._io


def buffers(device):
    """Its registered buffers: tests need the pins behind a page."""
    return device._buffers


def quiet(pinner):
    """Pins that are held still for a move."""
    return pinner._quiet


def isolated(balloon):
    """Page numbers that a mover has: a subject must not write to such a page."""
    return balloon._isolated


def alloc_pages_through(evacuator, wrap):
    """Destinations come from `wrap(the real function)` from now on: faults are injected there."""
    evacuator._alloc_pages = wrap(evacuator._alloc_pages)
