"""What can be had for points: rewards, their denominations and countries, and what they cost.

Every version of a reward is kept as it was stored, so that an order keeps what it was quoted (G25, G73).
Asks no other service: the programs' rates are a copy that identity_svc pushes.
"""
