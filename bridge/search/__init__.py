"""The inverse questions: the cheapest setting, the shortest pulse, the smallest cell, and what each target costs.

`inquiry.py` what is asked, checked before any work · `reach.py` how far an amplitude may go · `find.py` the answers ·
`frontier.py` trade-offs · `plots.py` to look at
"""
