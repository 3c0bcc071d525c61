"""From plain descriptions to parts: signatures, what a stranger's folder may have built, and the making itself.

A description is a mapping whose `_target_` names a class or function and whose other keys are its settings. Where it
was composed, typed or stored is `config`'s to know, which has Hydra; nothing here has.
"""
