"""From YAML to objects: the table of groups, the rules that a config is held to, what may be built, and building.

Mathematics and training know nothing of it.
"""
