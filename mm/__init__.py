"""Memory, and those who need it moved.

    state  buddy  swap                          what there is; columns and indices
    move                                        where a page changes its pfn, and the question
    paging  allocator  compaction  planning     policies: each takes the state that it needs
    contig  hugetlb  hotplug  power             and never a Machine
    designs                                     answers to the question, one file each
    machine                                     wires them; what scripts hold

Imports point up this list only.  Each folder's docstring is its map.
"""
