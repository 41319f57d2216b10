"""Members of a program, their attributes and their linked identities."""
