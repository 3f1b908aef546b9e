"""Measures pgsync against what one would use without it: `python -m bench QUESTION`.

One file per question; the harness interleaves the contestants, the load comes from processes of its own.
"""
