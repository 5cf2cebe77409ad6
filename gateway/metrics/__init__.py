"""What the installation is doing, in numbers: read from the database at the moment somebody asks."""
