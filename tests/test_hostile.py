"""Broken, hostile and cheating submissions, graded in one class: everybody gets what an honest marker would give.

By default every case is graded but those that are slow by nature, of which two stand for all; `--all-hostile` is not an
option of pytest here, so `CS348K_ALL_HOSTILE=1` grades them all.
"""
