"""Alarms: symptoms that can be seen in a log point's numbers, how long they last, and what usually helps.

Nothing here changes a run, draws a random number of its or knows how it is trained.
"""
