"""Claims: what a recipient does with the link of an order. Whoever holds the link holds its value, so a link of which
nothing can be claimed tells nothing about itself, not even whether it ever was one (G54)."""
