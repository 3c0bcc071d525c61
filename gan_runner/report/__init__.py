"""Comparisons of runs: read from their folders and shown as a table, a CSV file and a page.

Folders may be untrusted: their content is bounded, checked and escaped, and none of it is executed.
Nothing here uses a network, so that a comparison needs no PyTorch.
"""
