"""A company's evening, and recorded conversations, played through the real gateway against local twins."""
