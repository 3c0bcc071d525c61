"""What the players play: what G is given, what D is shown, which terms each minimises and what is measured.

No optimizer, no schedule, no run.
"""
