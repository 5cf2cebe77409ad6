"""Keys, scopes and the vault."""
