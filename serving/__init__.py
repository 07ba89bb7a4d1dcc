"""The gateway application: HTTP surface, tasks, engine, Ray Serve deployments and command line."""
