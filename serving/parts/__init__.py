"""Parts of a gateway in processes of their own, reached over HTTP."""
