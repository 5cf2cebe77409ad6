"""What happened, told to whoever subscribed: announced in the transaction that made it so, told as signed webhooks."""
