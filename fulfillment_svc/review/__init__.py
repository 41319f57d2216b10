"""The review desk: what needs a person, and what a person may do about it.

An action is one more answer in the saga. On a redemption it is taken under a claim of its own, so no worker is at work
on it meanwhile, and on an order under its lock. It is kept for good with who took it and on what evidence.
"""
