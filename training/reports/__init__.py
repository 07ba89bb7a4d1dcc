"""Reports that people read: one document, as a page and as Markdown, with plots."""
