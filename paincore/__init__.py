"""The module behind the book: an executable reproduction of "Fully-attentive and interpretable:
vision and video vision transformers for pain detection".

Conventions that hold everywhere:

- A frame is named by subject ("ll042"), sequence ("ll042t1aaaff") and frame number (from 1).
- Action units (AUs) carry the FACS intensities 0 (absent), 1 (A) to 5 (E); lid closure (AU43, AU45)
  is 0 or 1.
- Files are written whole or not at all, and a corpus folder is only ever read.
- What a user can put right raises a `PaincoreError` whose sentence names the file or the value and
  says what to do.
"""

__version__ = "0.1.0"


class PaincoreError(Exception):
    """Something the user can put right; the command line prints it as one line."""
