"""Personal data: where it is, how long it is kept, how it is handed out and how it is erased."""
