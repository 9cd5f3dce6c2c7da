"""Somebody's own owner: found by its name, tried on a whole machine, put into a recorded one.

    find       A factory that MODULE:OWNER names
    machine    The kit's lab over a whole machine: real bytes, buddy lists, page tables
    own        One's own owner in somebody's machine: it takes over frames and answers for them

May be imported by: cli, load and scripts.
"""
