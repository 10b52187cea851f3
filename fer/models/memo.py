"""A frozen backbone's features of a face, computed once: training a head on them then takes seconds per epoch."""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 32
"""Faces in every pass of the backbone. Fixed, because another batch size can change the last digits, and a resumed run
would then differ."""


class Memo:
    """Remembers the features of faces by the faces' content and by the precision that they are computed in.

    This pays off where the same views of a face recur: mirror images, say, but not random rotations.

    Args:
        count: Faces to remember; the features of any others are computed whenever they occur.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.places: dict[bytes, int] = {}
        self.kept: Tensor | None = None

    @torch.no_grad()
    def __call__(self, faces: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the features of faces.

        Args:
            faces: uint8, (N, 1, H, W).
            compute: Maps such faces to features, (N, D); must give the same for the same face in the same precision.

        Returns:
            float32, (N, D), rounded to half precision.
        """
        # a face that is in training and in validation is computed in the precision of each
        mixed = bytes([torch.is_autocast_enabled(faces.device.type)])
        keys = [mixed + hashlib.blake2b(face.data, digest_size=16).digest() for face in faces.cpu().numpy()]
        known = torch.tensor([self.places.get(key, -1) for key in keys], device=faces.device)
        missing = torch.nonzero(known < 0).flatten()
        if not len(missing):
            assert self.kept is not None
            return self.kept[known].float()
        new = self._computed(faces[missing], compute)
        found = new.new_empty(len(faces), new.shape[1])
        if self.kept is None:
            self.kept = new.new_empty(self.count, new.shape[1])
        found[known >= 0] = self.kept[known[known >= 0]]
        found[missing] = new
        for row, features in zip(missing.tolist(), new, strict=True):
            if len(self.places) < self.count and keys[row] not in self.places:
                self.kept[len(self.places)] = features
                self.places[keys[row]] = len(self.places)
        return found.float()

    @staticmethod
    def _computed(faces: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        parts = []
        for part in torch.split(faces, CHUNK):
            whole = torch.cat([part, part[:1].expand(CHUNK - len(part), -1, -1, -1)])
            parts.append(compute(whole)[: len(part)])
        return torch.cat(parts).half()
