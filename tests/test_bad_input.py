"""Bad input ends with one sentence, a non-zero status and nothing half-written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.models import MobileNet_V2_Weights

from fer.data.faces import Faces
from tests.conftest import Outcome, Sweep, call, command, quick, refused, run_of
from tests.data.layouts import write_affectnet, write_folders, write_raf_db, write_table

CONFIGURATION = {
    "unknown key": (["foo=1"], ["foo: there is no such configuration key", "--help"]),
    "added key": (["+foo=1"], ["foo: there is no such configuration key"]),
    "unknown key in a section": (["data.foo=1"], ["data.foo: there is no such configuration key"]),
    "added key in a section": (["+data.foo=1"], ["data.foo: there is no such configuration key"]),
    "no assignment": (["foo"], ["'foo'", "key=value"]),
    "unclosed list": (["optim.lr=[1"], ["'optim.lr=[1'", "key=value"]),
    "unknown model": (["model=nope"], ["model: 'nope'", "cnn10, cnn12, cnn16", "mnv2, mnv2_ft"]),
    "unknown data": (["data=nope"], ["data: 'nope'", "auto, fer2013, ferplus, folder, huggingface"]),
    "unknown experiment": (["experiment=nope"], ["experiment: 'nope'"]),
    "model without network": (["model=custom"], ["model.network._target_: needs a value"]),
    "wrong type": (["data.batch_size=x"], ["data.batch_size", "'x'"]),
    "no value": (["data.batch_size=null"], ["data.batch_size", "None"]),
    "seed of letters": (["seed=x"], ["seed", "'x'"]),
    "negative seed": (["seed=-1"], ["seed: -1", "from 0"]),
    "unknown optimiser": (["optim.optimizer=adam"], ["optim.optimizer: 'adam'", "sgd, adamw, muon"]),
    "negative rate": (["optim.lr=-0.1"], ["optim.lr: -0.1", "at least 0"]),
    "a rate without end": (["optim.lr=inf"], ["optim.lr: inf", "at least 0"]),
    "too much smoothing": (["optim.label_smoothing=1"], ["optim.label_smoothing: 1.0", "from 0 to 0.99"]),
    "epochs that are none": (["trainer.max_epochs=true"], ["trainer.max_epochs: 'True'"]),
    "no patience": (["trainer.patience=0"], ["trainer.patience: 0", "at least 1"]),
    "momentum that never ends": (["optim.momentum=1"], ["optim.momentum: 1"]),
    "gradients of no length": (["trainer.gradient_clip=0"], ["trainer.gradient_clip: 0"]),
    "no epochs": (["trainer.max_epochs=0"], ["trainer.max_epochs: '0'"]),
    "one face a batch": (["data.batch_size=1"], ["data.batch_size: 1 ", "at least 2"]),
    "unknown class to augment": (["data.augment.classes=[sadd]"], ["data.augment.classes: 'sadd'", "'sad'"]),
    "folder not named": (["data=folder"], ["data.root=path"]),
    "data set not named": (["data=huggingface"], ["data.root=its/name"]),
    "unknown choice for classes": (
        ["data=folder", "data.root=.", "data.extra_classes=x"],
        ["'x'", "error, drop, keep"],
    ),
    "unknown choice for errors": (
        ["data=folder", "data.root=.", "data.on_error=x"],
        ["data.on_error: 'x'", "stop, skip"],
    ),
    "folder missing": (["data=folder", "data.root=nowhere"], ["nowhere does not exist", "train/<class>/"]),
    "brackets in a name": (["data=folder", "data.root='[/no]where'"], ["[/no]where does not exist"]),
    "no FER2013": (["data=fer2013"], ["data/fer2013", "FER2013_ROOT", "data.root=", "data.download=true"]),
    "an evaluation's key": (["data_root=faces"], ["data_root: there is no such", "is data.root meant?"]),
    "a key of another section": (["trainer.lr=1"], ["is optim.lr meant?"]),
    "half a key": (["optim.warmup=1"], ["is optim.warmup_epochs meant?"]),
    "a key of several sections": (["data.seed=1"], ["is seed meant?"]),
    "an argument that the network lacks": (["model.network.widht=1"], ["+model.network.widht=…"]),
    "a folder of Hydra's": (["hydra.run.dir=mine"], ["hydra.run.dir: results do not go", "logs=path"]),
    "a key of FER+'s": (["data=fer2013", "data.votes=x"], ["data.votes: only data=ferplus has this key"]),
    "a name with a slash": (["model.name=a/b"], ["model.name: 'a/b' cannot be a folder's name"]),
    "a name that leads up": (["model.name=.."], ["model.name: '..' cannot be a folder's name"]),
    "no model": (["~model", "model.network.width=1"], ["model.network: it is missing"]),
    "a recipe with a plus": (["+experiment=fast"], ["experiment", "without the plus"]),
    "letters that no command line takes": (
        ["data.class_map={wütend: angry}"],
        ["data.class_map", "a file of your own"],
    ),
    "a size of nothing": (["data.size=-5"], ["data.size: -5", "from 8 to 256"]),
    "a sample somewhere": (["data=sample", "data.root=."], ["data.root: the sample is drawn"]),
    "nothing to resume": (["resume=nowhere"], ["resume", "'nowhere'"]),
    "sweep of an unknown key": (["-m", "foo=1,2"], ["foo: there is no such configuration key"]),
}


@pytest.mark.parametrize(("arguments", "words"), CONFIGURATION.values(), ids=CONFIGURATION)
def test_configuration(arguments: list[str], words: list[str]) -> None:
    refused(call("train.py", *arguments), *words)
    assert not Path("logs").exists()
    assert not Path("fer_aug_dataset").exists()


def test_as_a_user_sees_it(tmp_path: Path) -> None:
    told = command("train.py", "data.foo=1")
    refused(Outcome(told.returncode, told.stdout, told.stderr), "data.foo: there is no such configuration key")
    assert told.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


# what only shows once the data are read: the folder of the run is there by then
LATER = {
    "argument that the network lacks": (["+model.network.foo=1"], ["model.network", "'foo'"]),
    "network that is nowhere": (["model.network._target_=fer.Nope"], ["model.network", "fer.Nope"]),
    "depth without a table": (["model.network.depth=11"], ["depth 11", "10, 12, 16"]),
    "network without width": (["model.network.width=0"], ["width is 0"]),
    "input too small": (["model.input.size=4"], ["model.input"]),
    "faces of floats": (
        ["+data.augment.transforms.mine={_target_: albumentations.ToFloat}"],
        ["data.augment.transforms: ToFloat makes float32 (48, 48, 1) of a face"],
    ),
    "faces of another size": (
        ["+data.augment.transforms.mine={_target_: albumentations.RandomCrop, height: 40, width: 40, p: 0.01}"],
        ["RandomCrop makes uint8 (40, 40, 1) of a face", "(48, 48, 1)"],
    ),
    "faces of three channels": (
        ["+data.augment.transforms.mine={_target_: albumentations.ToRGB}"],
        ["ToRGB makes uint8 (48, 48, 3)"],
    ),
    "a crop that does not fit": (
        ["+data.augment.transforms.mine={_target_: albumentations.RandomCrop, height: 64, width: 64}"],
        ["RandomCrop fails on a grey face"],
    ),
    "unknown class to oversample": (["data.oversample.classes=[sadd]"], ["data.oversample.classes: 'sadd'", "'sad'"]),
    "negative seed of the copies": (["data.oversample.seed=-1"], ["data.oversample.seed: -1", "from 0"]),
    "unknown accelerator": (["trainer.accelerator=nope"], ["'nope'", "cpu"]),
    "devices of letters": (["trainer.devices=x"], ["devices 'x'"]),
    "unknown precision": (["trainer.precision=nope"], ["'nope'", "bf16-mixed"]),
    "weights missing": (["model=mnv2", "~model.network.width", "model.weights=nofile"], ["model.weights", "'nofile'"]),
    "weights that are none": (
        ["model=mnv2", "~model.network.width", "model.weights=a_file"],
        ["a_file' cannot be read as weights"],
    ),
    "logs below a file": (["logs=a_file/logs"], ["'a_file/logs/", "cannot be written", "logs=path"]),
    "copies below a file": (["data.oversample.folder=a_file/x"], ["a_file/x", "data.oversample.folder"]),
}


@pytest.mark.parametrize(("arguments", "words"), LATER.values(), ids=LATER)
def test_what_shows_once_the_data_are_read(arguments: list[str], words: list[str], tiny_folder: Path) -> None:
    Path("a_file").write_text("of no use")
    common = [word for word in quick(tiny_folder) if "~model.network.width" not in arguments or "width" not in word]
    refused(call("train.py", *common, *[word for word in arguments if word[0] != "~"]), *words)
    assert not Path("logs").exists()
    assert Path("a_file").read_text() == "of no use"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_where_there_is_none(tiny_folder: Path) -> None:
    refused(call("train.py", *quick(tiny_folder), "trainer.accelerator=gpu"), "'gpu'", "choose auto or cpu")
    assert not Path("logs").exists()


def test_a_name_that_no_folder_can_have_is_told_of(tiny_folder: Path) -> None:
    told = call("train.py", *quick(tiny_folder), "model.name=" + 300 * "a")
    refused(told, "aaa", "cannot be written", "logs=path")


def test_sweep_into_a_folder_that_cannot_be_written(tiny_folder: Path) -> None:
    Path("a_file").write_text("of no use")
    told = call("train.py", "-m", "seed=1,2", "logs=a_file/logs", *quick(tiny_folder))
    refused(told, "'a_file/logs", "cannot be written", "logs=path")


Spoil = Callable[[Path], object]


def replace_row(change: Callable[[str], str]) -> Spoil:
    """Return what changes the first row of a table below its header."""

    def spoil(root: Path) -> None:
        shutil.rmtree(root)
        table = write_table(root / "fer2013.csv")
        header, first, *rest = table.read_text().splitlines()
        table.write_text("\n".join([header, change(first), *rest]))

    return spoil


def picture(root: Path) -> Path:
    return sorted((root / "train" / "sad").iterdir())[0]


def empty_class(root: Path) -> None:
    for path in (root / "train" / "sad").iterdir():
        path.unlink()


def empty_root(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def raf_db(root: Path) -> None:
    shutil.rmtree(root)
    next(write_raf_db(root).rglob("*.txt")).write_text("train_00001.jpg 8")


def affectnet(root: Path) -> None:
    shutil.rmtree(root)
    (write_affectnet(root) / "train_set" / "annotations" / "0_exp.npy").write_text("happy")


DATA: dict[str, tuple[Spoil, list[str]]] = {
    "empty class": (empty_class, ["train/sad is empty"]),
    "unknown class": (lambda root: (root / "train" / "bored").mkdir(), ["train/bored", "known are angry, disgust"]),
    "label of RAF-DB": (raf_db, ["list_patition_label.txt, line 1", "a label from 1 to 7"]),
    "label of AffectNet": (affectnet, ["train_set/annotations/0_exp.npy", "no label"]),
    "no test split": (lambda root: shutil.rmtree(root / "test"), ["no folder 'test'"]),
    "nothing": (empty_root, ["nothing to read"]),
    "truncated picture": (
        lambda root: (path := picture(root)).write_bytes(path.read_bytes()[:200]),
        ["train/sad/Training_16.png", "damaged", "replace or remove it"],
    ),
    "no picture": (
        lambda root: picture(root).write_text("a poem"),
        ["train/sad/Training_16.png", "no picture", "remove it", "data.on_error=skip"],
    ),
    "pixel too few": (replace_row(lambda row: row.replace(" ", "", 1)), ["fer2013.csv", "line 2", "2304", "2303"]),
    "pixel of letters": (replace_row(lambda row: row.replace(" ", " x", 1)), ["fer2013.csv", "line 2", "'x"]),
    "unknown usage": (replace_row(lambda row: row.replace("Training", "Trainig")), ["line 2", "'Trainig'"]),
}


@pytest.mark.parametrize(("spoil", "words"), DATA.values(), ids=DATA)
def test_data(spoil: Spoil, words: list[str]) -> None:
    spoil(write_folders(Path("faces")))
    refused(call("train.py", "data=folder", "data.root=faces"), *words)
    assert not Path("logs").exists()
    assert not Path("fer_aug_dataset").exists()
    assert not list(Path("cache").rglob("*.npy"))


def test_a_class_that_nothing_teaches() -> None:
    shutil.rmtree(write_folders(Path("faces")) / "train" / "sad")
    told = call("train.py", "data=folder", "data.root=faces")
    refused(told, "folders in faces has no training picture of sad", "remove the class from the other splits")
    assert not Path("logs").exists()
    assert not Path("fer_aug_dataset").exists()


EVALUATION = {
    "no run": ([], ["run: needs a value", "run="]),
    "folder missing": (["run=nowhere"], ["run", "'nowhere'"]),
    "folder without a run": (["run=."], ["run", "config.yaml"]),
    "unknown split": (["run=.", "split=nope"], ["split: 'nope'", "train, val, test"]),
    "unknown key": (["run=.", "foo=1"], ["foo: there is no such configuration key"]),
    "a training's key": (["run=.", "data.root=faces"], ["data=folder data.root=path", "data_root=path"]),
    "a key of other data": (["run=.", "data=folder", "data.rot=faces"], ["is data.root meant?"]),
}


@pytest.mark.parametrize(("arguments", "words"), EVALUATION.values(), ids=EVALUATION)
def test_evaluation(arguments: list[str], words: list[str]) -> None:
    refused(call("evaluate.py", *arguments), *words)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, **options: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(MobileNet_V2_Weights, "get_state_dict", unreachable)


@pytest.mark.usefixtures("no_network")
def test_real_data_without_pretrained_weights(tiny_folder: Path) -> None:
    told = call("train.py", "model=mnv2", "data=fer2013", f"data.root={tiny_folder}")
    refused(told, "ImageNet weights cannot be downloaded", "model.weights=path", "model.weights=null")
    assert not Path("logs").exists()


def test_a_weights_file_that_is_missing_stops_the_sample_too(
    tiny_faces: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer.data.sources.draw_faces", lambda size: tiny_faces)
    refused(call("train.py", "data=sample", "model=mnv2", "model.weights=nofile"), "model.weights", "'nofile'")
    assert not Path("logs").exists()


def test_an_accelerator_that_is_not_here_is_told_of(tiny_sweep: Sweep) -> None:
    refused(call("evaluate.py", f"run={run_of(tiny_sweep, 'cnn10')}", "accelerator=tpu"), "accelerator 'tpu'")
