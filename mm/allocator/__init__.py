"""The page allocator's policy: zones, watermarks, the slow path, background reclaim.

    kswapd      Background reclaim: one daemon that frees memory beside the allocations that lack it
    page_alloc  The page allocator: which zone may serve a request, and what to do when none can

Kernel counterpart: the policy half of mm/page_alloc.c, kswapd of mm/vmscan.c.
May be imported by: hotplug, hugetlb and the machine.
"""
