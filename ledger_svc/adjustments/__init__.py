"""Corrections that a person makes, and their approval by a second one."""
