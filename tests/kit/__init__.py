"""What several folders of tests share: small machines, worlds, recordings, comparers.

    command      the `pinpage` command, in this process or in one of its own
    deep         a digest of everything that an object reaches
    project      a source tree as modules and imports
    inside       the only place where tests look inside other classes, with reasons
    mm/          machines drawn as text, swap and paging without a machine, ranges
    owners/      page sources and worlds of one owner each
    pinlab/      small recordings, reports, hostile files
    pinpage/     moves that are interrupted, owners that lie
    conformance/ the owners of this project as subjects of the kit

A test imports from here and from its own folder, never from another test module.
"""
