"""The commands: what each is called with, what it prints. All work is done elsewhere."""
