"""Memory that nobody recorded: a line or a file says how much there is of what.

    synthetic  from the description to a snapshot
    shape      where its pages lie, and how full its pools are

Kernel counterpart: none.
May be imported by: snapshot, replay, requests, cli.
"""
