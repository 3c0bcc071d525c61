"""A run as a thing of its own, between what is typed and what is trained: started, stopped, resumed, judged, opened.

Commands and Python functions hand in what they were asked for; this package knows no Hydra job and no terminal.
"""
