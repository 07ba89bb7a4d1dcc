"""Ingest, chunking, embedding, vector search, fusion, reranking and access control."""
