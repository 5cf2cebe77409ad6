"""The product, one station a file.

In:    accept → normalise → fetch → record → thread → decide → push
Back:  accept → normalise → reply → render → decide → send
Beside them: poll (what webhooks did not bring) and drains (which station runs when, under which lease). What is told to
subscribers is in `gateway.events`, whether channels live in `gateway.health`.

Every station reads, calls, and writes in one transaction; it takes a batch, and a batch of one is the ordinary case.
"""
