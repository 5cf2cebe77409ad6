"""Whether news still reaches us: proven by what flows and by probes, judged by pure functions."""
