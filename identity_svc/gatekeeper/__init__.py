"""Envoy's question about every request: who is this, and may they call this RPC?"""
