"""The shipped reader: language packs as data, and the families of signals that are read with them."""
