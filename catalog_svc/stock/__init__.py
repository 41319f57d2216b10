"""How much there is of rewards that are limited, and the reservations of it.

A reservation counts from the moment it commits, under the lock of its stock's row, until it is consumed or released or
its time runs out. Its time is looked at whenever its stock is touched, so the sweep only tidies what nobody asks for.
"""
