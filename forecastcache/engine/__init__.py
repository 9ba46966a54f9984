"""What happens when an attached model is called; README.md beside this file tells it in order."""
