"""X (Twitter) as a source: mentions, replies, quotes and direct messages in, replies and direct messages out."""
