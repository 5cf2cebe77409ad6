"""Configuration as files: exported, planned and applied, so that a company keeps it in version control."""
