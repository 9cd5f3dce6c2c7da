"""Direct I/O: a device, simulated or real, on pages of a running process.

    buffers    Buffers that a device has pinned for long, so that single requests need no pin
    device     Direct I/O: a device reads and writes pages of a process while the process goes on
    events     Simulated time for devices: events on the machine's clock, and how long a request
               takes
    file       A file opened for direct I/O, and whole requests to it
    in_flight  Pages that a thread's request is working on at this moment, as an owner of their own
    model      What kind of device a simulated one is, and what it has done
    queue      Requests of a simulated disk, and where they are while they are not at the device
    real       A real file opened O_DIRECT: threads read and write it straight into the arena's
               frames
    simulated  A simulated disk with direct I/O
    threads    The threads of a real device: each takes a request, pins its pages, transfers, unpins

Kernel counterpart: fs/direct-io.c, drivers/block/null_blk, io_uring's registered buffers.
May be imported by: pinlab.
"""
