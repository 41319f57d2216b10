"""`python -m devmesh demo`: a throwaway mesh, and the main job as a partner sees it."""
