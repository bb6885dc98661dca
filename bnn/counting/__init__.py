"""Answers of a model, counted.

`logits.py` logits, checked · `accuracy.py` counts of correct answers, with intervals
"""
