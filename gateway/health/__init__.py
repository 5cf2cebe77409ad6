"""Whether news still reaches us: proven by what flows and by probes, told to admins, and repaired by polling."""
