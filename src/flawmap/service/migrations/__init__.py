"""Alembic's migrations of the service's tables, run when a service starts."""
