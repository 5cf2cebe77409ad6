"""The REST API, one router a file."""
