"""Speed as ratios: each figure stands against a baseline of the same run, because machines drift."""
