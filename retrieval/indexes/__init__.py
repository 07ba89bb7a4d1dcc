"""Indexes of passages: the protocol, the reference in memory, Milvus."""
