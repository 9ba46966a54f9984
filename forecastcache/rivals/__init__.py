"""What else makes a pipeline faster, a method a file, each under its own best-known settings."""
