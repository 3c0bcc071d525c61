"""Many runs side by side: read from their folders, compared where they can be, shown as a table, a CSV file and a page.

What lies in a folder is data, perhaps a stranger's: it is bounded, checked and escaped, and none of it is executed.
Nothing here trains or draws with a network, so that a comparison needs no PyTorch.
"""
