"""Train, compare and explain classifiers of facial emotions."""

import os

# albumentations asks the network for its newest version at import, which stalls machines without one
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
