"""What watches a running system: Prometheus, its rules, and dashboards."""
