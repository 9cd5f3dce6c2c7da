"""The 36 races of `docs/reference/races.md`, each explored, each with the bug that it is there for.

race        a race, its broken form, and what an exploration of both came to
broken      a line of the library changed for as long as a `with` lasts
bench       a registry, a memory of five frames, owners that follow a script
machines    small machines: processes, drivers, pools, swap
movers, sharing, pools, swapping, pins, ranges, locks
the scenarios, by what they are about; each explores the library's own code
catalog     all of them by number
story       a schedule that breaks something, told in sentences
"""
