"""What tests of owners, movers and of this package itself need; shipped, so that others can.

    model        the registry as a plain list
    world        a memory of a few frames, strict enough to test a move
    scripted     owners that do as a script says: obey, refuse, delay, raise, lie
    strategies   worlds and columns, drawn by hypothesis
    explore      every interleaving of a few generators, and the first that breaks something
    stepping     an actor for the explorer that stops before each call it makes
    conformance  the owner kit: does an owner keep what the contract promises?

Import from the modules.
"""
