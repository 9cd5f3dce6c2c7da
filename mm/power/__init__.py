"""Regions of memory that are emptied so that they can be switched off.

    energy   What switched-off memory saves and what emptying it costs, in picojoules
    power    Memory power management: emptying regions so that they can be switched off
    regions  Which memory can be switched off by itself: power regions and how addresses spread over
             them
    report   What consolidating memory into fewer power regions came to, group by group

Kernel counterpart: the memory power management patches of 2011 to 2013, never merged.
May be imported by: the machine and pinlab.
"""
