"""Memories: numbers in, numbers out, through cells that fail.

In the order of a write: `declaration.py` all of a memory but its size and seed · `formats.py` a number becomes bits ·
`stochastic.py` by chance, `rounding.py` the same as kernels ·
`codes.py` and `protection.py` check bits · `placement.py` data and check cells, and a die's · `sampling.py` the cells
that are hit · `cells.py` cells are written, sensed, left alone · `read.py` errors and disturbs of reads, retention ·
`mram.py` the whole, `Memory` · `in_place.py` the same without copies · `sram.py` the error-free memory next to it.
Events and their energy are in `bridge/ledger.py`.
"""
