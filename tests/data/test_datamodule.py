"""From a configuration to batches."""

import json
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from fer.data.augment import Augmenter, augmented_classes, check_transforms
from fer.data.batches import BatchRequest, EpochBatches, FaceDataset
from fer.data.datamodule import FaceDataModule
from fer.data.faces import Faces
from fer.data.sources import find_fer2013, read_source
from fer.errors import FerError
from fer.labels import EMOTIONS
from fer.reading import open_data
from tests.conftest import composed
from tests.data.layouts import write_classes


def test_every_epoch_shows_every_face_once_in_an_order_of_its_own() -> None:
    batches = EpochBatches(100, 10, seed=3, shuffle=True)
    first = [request.rows for request in batches]
    batches.set_epoch(1)
    second = [request.rows for request in batches]
    assert len(batches) == len(first) == 10
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(100))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    again = EpochBatches(100, 10, seed=3, shuffle=True)
    assert all(np.array_equal(a.rows, rows) for a, rows in zip(again, first, strict=True))


def test_devices_share_an_epoch_without_overlap() -> None:
    parts = [np.concatenate([r.rows for r in EpochBatches(101, 10, 0, True, rank, 2)]) for rank in (0, 1)]
    assert len(parts[0]) == len(parts[1]) == 50
    assert not set(parts[0]) & set(parts[1])


def test_a_resumed_epoch_leaves_out_what_was_trained_on_and_only_once() -> None:
    whole, resumed = (EpochBatches(100, 10, 0, True) for _ in range(2))
    resumed.skip(epoch=2, batches=4)
    for epoch in (2, 3):
        whole.set_epoch(epoch)
        resumed.set_epoch(epoch)
        expected = list(whole)[4:] if epoch == 2 else list(whole)
        assert [(r.rows.tolist(), r.seed) for r in resumed] == [(r.rows.tolist(), r.seed) for r in expected]


def test_evaluation_keeps_order_and_the_incomplete_batch() -> None:
    rows = [request.rows.tolist() for request in EpochBatches(7, 3, 0, shuffle=False)]
    assert rows == [[0, 1, 2], [3, 4, 5], [6]]


def test_an_epoch_of_few_steps_is_told_of(tiny_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def said(batch_size: int) -> str:
        caplog.clear()
        options = ("data.oversample.enabled=false", f"data.batch_size={batch_size}")
        data = FaceDataModule(composed("data=fer2013", f"data.root={tiny_folder}", *options).data)
        data.setup()
        data.train_dataloader()
        return caplog.text

    assert "Steps an epoch: only 1 (200 training faces" in said(128)
    assert "Steps" not in said(32)


def test_a_class_that_the_data_add_is_copied_by_its_name(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "own", [*EMOTIONS, "bored"])
    options = ("data.extra_classes=keep", "data.oversample.classes=[bored,sad]", "data.oversample.target=2.0")
    data = FaceDataModule(composed("data=folder", f"data.root={root}", *options).data, [], seed=0)
    data.setup()
    grown = dict(zip(data.all_faces.classes, data.counts["after"] / data.counts["before"], strict=True))
    assert {name for name, factor in grown.items() if factor == 2} == {"bored", "sad"}


def test_a_class_that_the_data_add_is_augmented_like_the_others(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "own", [*EMOTIONS, "bored"])
    config = composed("data=folder", f"data.root={root}", "data.extra_classes=keep", "data.augment.classes=all").data
    data = FaceDataModule(config, [A.HorizontalFlip(p=1.0)], seed=0)
    data.read()
    added = np.flatnonzero(data.all_faces.labels == data.all_faces.classes.index("bored"))
    faces = data.all_faces.take(added)
    assert len(faces)
    assert np.array_equal(data.augmenter(faces.images, faces.labels, seed=0), faces.images[:, :, ::-1])


def test_an_epoch_of_training_is_of_transformed_faces_and_copies(tiny_folder: Path) -> None:
    options = ("data.augment.classes=[sad]", "data.oversample.classes=[sad]", "data.batch_size=5")
    config = composed("data=fer2013", f"data.root={tiny_folder}", *options).data
    data = FaceDataModule(config, [A.HorizontalFlip(p=1.0)], seed=0)
    data.setup()
    faces = data.faces["train"]
    assert len(faces) > len(data.all_faces.split("train"))
    assert len(faces) % 5 == 0  # so that no face is left over
    sad = (faces.labels == EMOTIONS.index("sad"))[:, None, None]
    expected = np.where(sad, faces.images[:, :, ::-1], faces.images)
    seen = torch.cat([batch[0] for batch in data.train_dataloader()])[:, 0].numpy()
    assert sorted(face.tobytes() for face in seen) == sorted(face.tobytes() for face in expected)


def test_another_seed_of_the_run_leaves_splits_and_copies_alone(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "own", EMOTIONS)
    config = composed("data=folder", f"data.root={root}").data
    modules = [FaceDataModule(config, [], seed=seed) for seed in (0, 1)]
    for data in modules:
        data.setup()
    assert modules[0].digest == modules[1].digest
    assert len(list(Path("fer_aug_dataset").iterdir())) == 1


def test_what_is_downloaded_is_read_and_named_for_later(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer.data.sources.download_fer2013", lambda: tiny_folder)
    config = composed("data=fer2013", "data.download=true").data
    faces, name = read_source(config)
    expected, _ = read_source(composed("data=folder", f"data.root={tiny_folder}").data)
    assert (name, faces.digest()) == ("fer2013", expected.digest())
    assert config.root == str(tiny_folder)


def test_only_the_chosen_classes_are_transformed(tiny_faces: Faces) -> None:
    augmenter = Augmenter([A.HorizontalFlip(p=1.0)], [3, 4])
    train = tiny_faces.split("train")
    images = augmenter(train.images, train.labels, seed=0)
    chosen = np.isin(train.labels, [3, 4])
    assert np.array_equal(images[chosen], train.images[chosen, :, ::-1])
    assert np.array_equal(images[~chosen], train.images[~chosen])


def test_what_a_choice_of_transforms_makes_is_looked_at_too(tiny_faces: Faces) -> None:
    choice = A.OneOf([A.HorizontalFlip(p=1.0), A.ToFloat(p=0.02)], p=1.0)
    with pytest.raises(FerError, match="ToFloat makes float32"):
        check_transforms([choice], 48)
    augmenter = Augmenter([A.Compose([choice])], range(7))
    with pytest.raises(FerError, match="Compose makes float32"):
        for seed in range(20):
            augmenter(tiny_faces.images, tiny_faces.labels, seed)


def test_draws_differ_between_epochs_and_repeat_with_the_seed(tiny_faces: Faces) -> None:
    faces = tiny_faces.split("train")
    augmenter = Augmenter([A.RandomBrightnessContrast(p=1.0)], range(7))
    dataset = FaceDataset(faces, augmenter)
    rows = np.arange(8)
    first, again, other = (dataset.__getitems__(BatchRequest(rows, seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    batches = EpochBatches(len(faces), 32, 0, True)
    seeds = {request.seed for request in batches}
    batches.set_epoch(1)
    assert not seeds & {request.seed for request in batches}


def test_class_choices() -> None:
    assert augmented_classes("all") == tuple(range(7))
    assert augmented_classes("none") == ()
    assert augmented_classes(["happiness", "sad"]) == (3, 4)
    for bad in ("some", ["sadd"], 3):
        with pytest.raises(FerError, match=r"data\.augment\.classes"):
            augmented_classes(bad)


def test_batches_are_bytes_with_a_channel(tiny_folder: Path) -> None:
    config = composed("data=folder", f"data.root={tiny_folder}", "data.batch_size=16")
    data = FaceDataModule(config.data)
    data.setup()
    faces, labels = next(iter(data.train_dataloader()))
    assert faces.shape == (16, 1, 48, 48)
    assert (faces.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert data.counts["after"].sum() > data.counts["before"].sum()


def test_oversampling_can_be_left_out(tiny_folder: Path, tmp_path: Path) -> None:
    config = composed("data=folder", f"data.root={tiny_folder}", "data.oversample.enabled=false")
    data = FaceDataModule(config.data)
    data.setup()
    assert np.array_equal(data.counts["before"], data.counts["after"])
    assert not (tmp_path / "fer_aug_dataset").exists()


def test_auto_prefers_data_fer2013_then_the_variable_then_the_sample(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_fer2013(None) is None
    monkeypatch.setenv("FER2013_ROOT", "")  # as good as not set
    assert find_fer2013(None) is None
    assert read_source(composed("data=auto").data)[1] == "sample"
    monkeypatch.setenv("FER2013_ROOT", str(tiny_folder))
    assert find_fer2013(None) == tiny_folder
    faces, name = read_source(composed("data=auto").data)
    assert name == "fer2013"
    assert len(faces.split("train")) == 200
    (tmp_path / "data" / "fer2013").mkdir(parents=True)
    assert find_fer2013(None) == Path("data/fer2013")


def test_other_pictures_are_not_called_fer2013(tiny_faces: Faces, caplog: pytest.LogCaptureFixture) -> None:
    for number, label in enumerate(tiny_faces.labels):
        path = Path("mine", tiny_faces.classes[label], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), tiny_faces.images[number])
    for source in ("fer2013", "auto"):
        caplog.clear()
        config = composed("model=cnn10", f"data={source}", "data.root=mine")
        data = open_data(config)
        assert (data.source, config.data.name) == ("folder", "folder")
        assert config.data.root == str(Path("mine").resolve())
        assert f"data={source} stands for FER2013" in caplog.text


def test_fer2013_never_falls_back() -> None:
    with pytest.raises(FerError, match=r"looked for data/fer2013.*kaggle"):
        read_source(composed("data=fer2013").data)


def test_a_download_of_something_else_is_none_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    assert read_source(composed("data=sample", "data.download=true").data)[1] == "sample"
    assert "data=sample is not: nothing is downloaded" in caplog.text


def test_the_sample_is_announced_once_and_clearly(caplog: pytest.LogCaptureFixture) -> None:
    data = FaceDataModule(composed("data=auto").data)
    data.read()
    data.read()
    lines = [record.getMessage() for record in caplog.records if "FER2013 was not found" in record.getMessage()]
    assert len(lines) == 1
    assert "data.root" in lines[0]


def test_another_seed_of_the_run_brings_another_order_and_other_draws() -> None:
    one, other = ([*EpochBatches(100, 10, seed, shuffle=True)] for seed in (0, 1))
    assert any(not np.array_equal(a.rows, b.rows) for a, b in zip(one, other, strict=True))
    assert not {request.seed for request in one} & {request.seed for request in other}


def test_every_batch_of_every_device_draws_its_own() -> None:
    seeds = [request.seed for rank in (0, 1) for request in EpochBatches(100, 10, 0, True, rank, 2)]
    assert len(set(seeds)) == len(seeds) == 10


def test_another_seed_of_the_run_trains_on_other_batches(tiny_folder: Path) -> None:
    config = composed("data=fer2013", f"data.root={tiny_folder}", "data.oversample.enabled=false").data
    first = []
    for seed in (0, 1):
        data = FaceDataModule(config, [], seed=seed)
        data.setup()
        first.append(next(iter(data.train_dataloader()))[0])
    assert not torch.equal(*first)


def test_copies_are_made_as_the_configuration_says(tiny_folder: Path) -> None:
    wanted = {"rotation": 5.0, "shift": 0.05, "zoom": 0.03, "flip": False, "seed": 4, "target": 40}
    options = [f"data.oversample.{name}={value}" for name, value in wanted.items()]
    data = FaceDataModule(composed("data=fer2013", f"data.root={tiny_folder}", *options).data)
    data.setup()
    (folder,) = Path("fer_aug_dataset").iterdir()
    found = json.loads((folder / "manifest.json").read_text())["config"]
    assert {name: found[name] for name in wanted} == wanted


def test_what_is_scored_is_neither_transformed_nor_shuffled(tiny_folder: Path) -> None:
    options = ("data.augment.classes=all", "data.oversample.enabled=false", "data.batch_size=5")
    config = composed("data=fer2013", f"data.root={tiny_folder}", *options).data
    data = FaceDataModule(config, [A.HorizontalFlip(p=1.0)])
    data.setup()
    evaluated = {"val": data.val_dataloader(), "test": data.test_dataloader()}
    for split, loader in {**evaluated, "train": data.evaluation_dataloader("train")}.items():
        faces, labels = (torch.cat(part).numpy() for part in zip(*loader, strict=True))
        expected = data.all_faces.split(split)  # type: ignore[arg-type]
        assert np.array_equal(faces[:, 0], expected.images)
        assert np.array_equal(labels, expected.labels)
