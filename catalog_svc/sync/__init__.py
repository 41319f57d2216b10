"""Keeps a program's catalog in line with what its providers sell.

A feed is read as a whole and applied in one transaction, or not at all; what cannot be sold is left out and named. What
a person withdrew stays withdrawn, and what others put is not touched.
"""
