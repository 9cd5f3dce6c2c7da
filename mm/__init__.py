"""Memory, and those who need it moved.

    state     gfp frames contents nodes pageblock buddy pcp rmap lru swap costs api
    move      design move: the only place where a page changes its pfn
    policy    page_isolation compaction plan vmscan swapfile memory page_alloc hugetlb
    machine   wires them; what scripts hold

Imports point down only.  A policy takes the state that it needs, never a Machine.
"""
