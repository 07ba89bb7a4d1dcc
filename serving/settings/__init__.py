"""The sections of the configuration, and how a file is read. Import them from :mod:`serving.config`."""
