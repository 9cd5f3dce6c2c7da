"""Ranges: isolated, emptied, taken whole.  The engine under every consumer that needs one.

    cma             The contiguous memory allocator: areas that are lent to movable pages until a
                    device asks
    cma_area        One contiguous area: which of its pages a device has, as a bitmap
    cma_plan        Which range of an area to take, and how much of the area anybody could have
    cma_result      What came of one request for contiguous memory: a value
    contig          Contiguous memory out of a range that others use: isolate it, empty it, take it
    evacuate        Emptying a range: the one engine under CMA, hot-remove, gigantic pages and power
                    regions
    page_isolation  Isolating a range: mark its pageblocks so that nothing is allocated there, then
                    empty it
    range_walk      One walk over a range that is to be emptied: its batches, and one try at each
    retry           How long an evacuation goes on, and what it came to
    runs            Runs of an area that could be had: how many allocations fit, and where one does
                    least harm

Kernel counterpart: mm/page_isolation.c, alloc_contig_range of mm/page_alloc.c, mm/cma.c.
May be imported by: hotplug, hugetlb, power, designs, the machine and pinlab.
"""
