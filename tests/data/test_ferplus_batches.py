"""What training learns of the votes of FER+: its batches, copies and augmented faces."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fer.data.batches import BatchRequest, FaceDataset, draw_labels
from fer.data.datamodule import FaceDataModule
from fer.data.faces import Faces
from fer.data.ferplus import TARGETS
from fer.data.manifest import read_rows
from fer.errors import FerError
from fer.labels import EMOTIONS
from tests.conftest import composed
from tests.data.layouts import MIXED, write_votes


def opened(root: Path, *options: str) -> FaceDataModule:
    data = FaceDataModule(composed("data=ferplus", f"data.root={root}", "data.batch_size=16", *options).data)
    data.setup()
    return data


@pytest.mark.parametrize("target", TARGETS)
def test_copies_carry_the_votes_of_their_originals(target: str, root: Path) -> None:
    write_votes(root / "fer2013new.csv", MIXED)
    data = opened(root, f"data.target={target}", "data.oversample.classes=[contempt,angry]", "data.oversample.target=6")
    assert data.counts["after"][[0, 7]].tolist() == [6, 6]
    source, train = data.all_faces.split("train"), data.faces["train"]
    (folder,) = Path("fer_aug_dataset").iterdir()
    assert folder.name.startswith("angry-contempt-")
    originals = [list(source.origins).index(made.origin) for made in read_rows(folder)]
    assert len(originals) == len(source) + 7
    if target == "majority":
        assert train.targets is None
    else:
        assert source.targets is not None and train.targets is not None
        assert np.array_equal(train.targets, source.targets[originals])


def test_augmentation_serves_contempt_too(root: Path) -> None:
    write_votes(root / "fer2013new.csv")
    assert opened(root, "data.augment.classes=all").augmenter.classes.tolist() == list(range(8))
    assert opened(root, "data.augment.classes=[contempt]").augmenter.classes.tolist() == [7]


def test_a_list_may_name_what_the_filters_left_out(root: Path) -> None:
    write_votes(root / "fer2013new.csv", blank=[2])
    kept = opened(root).all_faces
    row = kept.split("train").origins[3]
    gone = next(f"fer2013.csv:row {number}" for number in range(56) if f"fer2013.csv:row {number}" not in kept.origins)
    Path("list.csv").write_text(f"picture\n{row}\n{gone}\n")
    data = opened(root, "data.exclude=list.csv")
    assert data.excluded == 1
    assert row not in data.all_faces.origins
    Path("list.csv").write_text("picture\nfer2013.csv:row 5600\n")
    with pytest.raises(FerError, match=r"row 5600', which .* does not hold"):
        opened(root, "data.exclude=list.csv")


def epoch(data: FaceDataModule, number: int) -> list[Any]:
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(number)  # type: ignore[union-attr]
    return list(loader)


@pytest.mark.parametrize("target", TARGETS)
def test_training_batches_carry_what_is_learned_and_others_do_not(target: str, root: Path) -> None:
    write_votes(root / "fer2013new.csv", MIXED)
    data = opened(root, f"data.target={target}", "data.oversample.enabled=false", "data.augment.classes=none")
    of_picture = {image.tobytes(): row for row, image in enumerate(data.faces["train"].images)}
    faces = data.faces["train"]
    for batch in epoch(data, 0):
        pictures, labels = batch[:2]
        rows = np.array([of_picture[picture.numpy().tobytes()] for picture in pictures])
        assert np.array_equal(labels, faces.labels[rows])
        if target == "majority":
            assert len(batch) == 2
            continue
        assert faces.targets is not None
        learned, targets = batch[2].numpy(), faces.targets[rows]
        if target == "probabilistic":
            assert learned.dtype == np.int64
            assert (targets[np.arange(len(rows)), learned] > 0).all()
        else:
            assert learned.dtype == targets.dtype
            assert np.array_equal(learned, targets)
    splits = [data.val_dataloader(), data.test_dataloader(), data.evaluation_dataloader("train")]
    assert all(len(batch) == 2 for loader in splits for batch in loader)


def test_labels_are_drawn_anew_each_epoch_and_the_same_for_the_same_seed(root: Path) -> None:
    torn = {number: [0, 5, 0, 0, 5, 0, 0, 0, 0, 0] for number in range(12, 28, 2)}
    write_votes(root / "fer2013new.csv", torn)

    def drawn(number: int) -> dict[bytes, int]:
        data = opened(root, "data.target=probabilistic", "data.oversample.enabled=false", "data.augment.classes=none")
        batches = epoch(data, number)
        return {
            picture.numpy().tobytes(): int(label)
            for pictures, _, labels in batches
            for picture, label in zip(pictures, labels, strict=True)
        }

    epochs = [drawn(number) for number in range(5)]
    assert drawn(0) == epochs[0]
    seen: dict[bytes, set[int]] = {}
    for labels in epochs:
        for picture, label in labels.items():
            seen.setdefault(picture, set()).add(label)
    both = {EMOTIONS.index("angry"), EMOTIONS.index("happy")}
    assert sum(found == both for found in seen.values()) >= 4
    assert all(found == both or len(found) == 1 for found in seen.values())


def test_every_class_is_drawn_as_often_as_its_share() -> None:
    shares = np.tile(np.array([0, 0.5, 0, 0.3, 0.2, 0], np.float32), (20_000, 1))
    labels = draw_labels(shares, 3)
    assert labels.dtype == np.int64
    assert np.bincount(labels, minlength=6) / len(labels) == pytest.approx([0, 0.5, 0, 0.3, 0.2, 0], abs=0.015)
    assert np.array_equal(labels, draw_labels(shares, 3))
    assert not np.array_equal(labels, draw_labels(shares, 4))


def test_every_face_of_every_batch_draws_its_own_label(tiny_faces: Faces) -> None:
    torn = np.full((len(tiny_faces), 7), 1 / 7, np.float32)
    dataset = FaceDataset(replace(tiny_faces, targets=torn), draw=True)
    first, again, other = (dataset.__getitems__(BatchRequest(np.arange(64), seed))[-1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert set(first.tolist()) == set(range(7))
