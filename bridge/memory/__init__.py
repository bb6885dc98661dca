"""Memories: numbers in, numbers out, and what happened to their bits on the way.

In the order of a write: `formats.py` a number becomes bits · `codes.py` and `protection.py` bits that guard bits ·
`sampling.py` which cells are hit · `cells.py` cells are pulsed, sensed, left alone · `read.py` what a read and time do
to a junction · `mram.py` all of it, `Memory` · `sram.py` the memory beside it. What it cost: `ledger.py`, one floor up.
"""
