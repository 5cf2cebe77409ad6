"""The database: connection, embedded PostgreSQL, tables."""
