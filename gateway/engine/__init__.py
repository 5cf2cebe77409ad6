"""Wake-ups, leases and upkeep: who works on what, when."""
