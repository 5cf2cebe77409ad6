"""Copies of attachments: where they are kept, and how they are cleaned before they go out."""
