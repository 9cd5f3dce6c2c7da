"""A recording becomes a machine, frame by frame, with contents that can be read back.

    contents     What goes into a replayed machine's frames: whole pages, and pairs of objects for
                 zbud
    corpus       Really compressed pages by the hundred thousand, at about a microsecond each
    deflate      Pieces of deflate streams (RFC 1951, RFC 1950), put together by hand
    designs      The designs that can be compared, by name
    frames       The bare memory of a recording: frames, zones and pageblocks, before anybody holds
                 them
    host_memory  Whether the contents of a replayed machine fit into this one, asked before they are
                 written
    layout_only  Contents of a machine of which only the layout counts, where pages are swapped out
                 all the same
    owners       Who holds a recorded frame, by name: classes of frames and the owners that adopt
                 them
    pools        A recorded pool gets objects: which page holds how many, how large, and whose bytes
    read_back    What everybody stored, by whom and under which key, and the proof that it is still
                 there
    replay       A recording becomes a machine, frame by frame
    replayable   What a replay can make of a recording, asked before anything of it is made
    take_over    Frames of a recording that an owner from outside takes over, in an opaque owner's
                 place
    whole_pages  Frames of a recording that make up one page: large folios, and huge pages of
                 hugetlb pools

May be imported by: compare, requests, load, lab and cli; report sees who its owners are, no
more.
"""
