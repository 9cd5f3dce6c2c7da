"""Two requests for memory at the same time: each takes what the other was emptying.

Shows: a driver asks a contiguous area for pages while somebody else keeps asking for 2 MiB pages;
    the second one is a turn planned on the machine's clock, so it goes on between the passes of the
    first, as another process does.
Expect: both get what they ask for; no frame is given out twice, no page of the process is lost,
    and the machine is consistent when both have ended.
"""

from mm.machine import Machine
from pinpage.units import Span

EVERY_NS = 200_000
NR_ASKED = 6

machine = Machine.build(nr_pages=8192, contents="tags")
area = machine.cma.create(Span(4096, 8192))
process = machine.memory.mmap("process", 5000)
for vpn in range(5000):
    machine.memory.touch(process, vpn, write=True)
machine.memory.dontneed(process, process.present()[::2])
pages_before = len(process.present())


asked_at_ns: list[int] = []


def ask_for_a_huge_page() -> None:
    asked_at_ns.append(machine.clock.now_ns)
    machine.hugetlb.grow(1)
    if len(asked_at_ns) < NR_ASKED:
        machine.clock.plan(machine.clock.now_ns + EVERY_NS, ask_for_a_huge_page, rank=1)


machine.clock.plan(machine.clock.now_ns + EVERY_NS, ask_for_a_huge_page, rank=1)
spans = [machine.cma.request(512, 9, area=area).span for _ in range(4)]
ended_ns = machine.clock.now_ns
machine.clock.run_until(ended_ns + NR_ASKED * EVERY_NS)
machine.check()

got = sum(span is not None for span in spans)
heads = set(machine.hugetlb.heads)
print("contiguous allocations of 2 MiB:", got, "of", len(spans))
print("huge pages:", len(heads), "of", NR_ASKED)
print("asked for while the others were under way:", sum(ns < ended_ns for ns in asked_at_ns))
print("the same frames twice:", any(span and span.start in heads for span in spans))
print("pages of the process:", len(process.present()) - pages_before, "lost")
