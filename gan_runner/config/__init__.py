"""From YAML to objects: the table of groups, the validation of configs, and building.

Training code does not depend on it.
"""
