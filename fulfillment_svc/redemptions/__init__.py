"""Redemptions: rewards for points, as a saga that a crash at any point cannot leave half done.

Points and funding are held, the provider is asked under our reference, and only its definite answer captures
or voids both (G68, G69). `rules` decides each step from what is stored, `saga` takes it, and whoever claims
a redemption next goes on from there.
"""
