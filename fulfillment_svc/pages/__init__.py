"""The hosted page where a recipient claims: HTML without scripts, in the program's look, on the rules of `claims`."""
