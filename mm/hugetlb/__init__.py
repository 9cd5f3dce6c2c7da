"""Pools of huge pages, and how one makes way for somebody who wants its frames.

    evict     Huge pages that are in somebody's way: replaced, dissolved, or moved as a whole
    gigantic  Gigantic pages: a walk over memory for an aligned range that can be emptied
    hugetlb   Pools of huge pages, grown and shrunk at run time, node by node
    sizes     The sizes of huge page that a machine has, one pool each

Kernel counterpart: mm/hugetlb.c.
May be imported by: the machine and pinlab. An owner asks for what it needs by a protocol
(`owners.hugetlb_pages`).
"""
