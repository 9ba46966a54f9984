"""Noto Emoji as pictures of 64x64 with captions, and the judge that reads them."""
