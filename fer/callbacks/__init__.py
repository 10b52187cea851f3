"""What watches a training: history, dashboards, progress and a clean stop. None of it runs inside a step."""
