"""Grafana dashboards and Prometheus rules, written from the metric catalogue. Pure: text out, nothing read."""
