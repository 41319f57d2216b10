"""The OpenAPI document of the REST surface, made from the descriptors and nothing else.

What the protos say stands in it: comments, ranges, which fields must be there, who may call, what a call may be refused
with. So it is as true as they are, and a test holds every answer of the mesh against it.
"""
