"""Following one message: spans written from the record, and log lines that say for whom work was done."""
