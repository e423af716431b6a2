"""What a reader can move: `players` in the rendered book, everything else in JupyterLab.

Each widget is one function that is called in one line and returns an `explorer.Explorer`; what it
draws is a function of its own, from a state to a picture, that needs no browser. Chapter 08.
"""
