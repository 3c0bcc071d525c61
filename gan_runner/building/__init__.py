"""From plain descriptions to components: signatures, what an untrusted folder may build, and building.

A description is a mapping whose `_target_` names a class or function and whose other keys are its settings. Where it
was composed, typed or stored is `config`'s to know, which has Hydra; nothing here has.
"""
