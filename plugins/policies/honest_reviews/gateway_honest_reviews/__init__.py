"""The policy that reviews are not for sale."""
