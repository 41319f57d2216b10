"""The review desk: what needs a person, and what a person may do about it.

An action is one more answer in the saga. It is taken under a claim of its own, so no worker is at work on the
redemption meanwhile, and kept for good with who took it and on what evidence.
"""
