"""Synthetic pain: a corpus of drawn people in the layout of UNBC-McMaster, and its truth.

People with shape, looks and temperament; what they do while something hurts, as action units; what
a coder writes down of it; pictures and landmarks. It stands alone: whoever wants the corpus needs
nothing else of this repository. Everything is decided by a seed.
"""


class SynthesisError(Exception):
    """A corpus that cannot be made; the sentence names the folder and says what to do."""
