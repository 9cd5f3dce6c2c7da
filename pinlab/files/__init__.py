"""Files: bounded before they are read, plain when printed, and never lost by writing.

    available  How much memory this machine has left, as far as it says
    careful    Files, JSON and texts from somebody else: bounded when they are read, plain when
               printed
    npz        An .npz of which nothing is inflated before its size is known and justified
    output     Where every file is written: nothing that was there is lost, and nothing is half
               there
    packed     Files that may be packed by gzip or xz, told apart by their first bytes, read piece
               by piece

Kernel counterpart: none.
May be imported by: everything in `pinlab`; it imports `pinlab.snapshot.errors` alone.
"""
