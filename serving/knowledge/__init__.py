"""Files and vector stores: their records, their ingestion, their API, and the searches that generation makes."""
