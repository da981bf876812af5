"""Slips that a student might make and that no check lists, one module per notebook.

SLIPS = {"E2.1": {"what was done": answer, ...}}       no check may accept one
NAMED = {"E2.1": {"what was done": ("name", ...)}}     the names that may be printed; a slip that is missing has none
"""
