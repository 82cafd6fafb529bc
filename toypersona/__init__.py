"""toypersona: watch what reinforcement learning does to a model that learnt several people's voices.

Import modules, not names: ``from toypersona import hulls``.
"""

__version__ = "0.1.0"
