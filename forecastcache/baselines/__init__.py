"""What people would use otherwise to make a pipeline faster, a method a file."""
