"""Who holds pages: one folder or file per kernel user, each written against the owner contract.

balloon                             the smallest one; read it first
opaque  mlock  hugetlb_pages        no table of their own, or hardly one
pool                                what the compressed pools share
zbud  z3fold  zsmalloc  zpool       pools of compressed objects, and their common face
zswap  zcache  zram  compress       who stores in them
gup  odirect                        pages that devices use
aio  slab                           rings of completions, caches of objects
arguments  batch_owner  forced_out  for all of them: what a caller gave, an owner that answers for
                                    many pages at once, an owner forced out while it holds pages
"""
