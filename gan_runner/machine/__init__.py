"""All that operating systems differ in: cores, memory, signals, files, the shell. Nothing else asks which one this is.

What a system lacks is done without, here, so that callers need not know. Nothing here knows runs, configs or PyTorch.
"""
