"""Trainings that start from trained weights."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fer.build import build_model
from fer.errors import FerError
from fer.labels import EMOTIONS, EMOTIONS_WITH_CONTEMPT
from fer.models.mobilenet import MobileNet
from fer.models.preprocess import FaceModel
from fer.naming import run_key
from fer.start import start_from
from fer.weights import halved, open_run, save_weights
from tests.conftest import Sweep, call, composed, quick, refused, run_of
from tests.models.test_mobilenet import backbone

FACES = torch.randint(0, 256, (5, 1, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def built(model: str, *overrides: str, classes: int = 7) -> FaceModel:
    return build_model(composed(f"model={model}", *overrides).model, classes).eval()


def logits(model: FaceModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(FACES)
    return found


@pytest.mark.parametrize("model", ["cnn10", "cnn12", "cnn16"])
def test_a_network_starts_as_the_shallower_one_that_it_grows_from(model: str, tiny_sweep: Sweep) -> None:
    folder = run_of(tiny_sweep, "cnn10")
    network = built(model, "model.network.width=0.25")
    before = logits(network)
    record = start_from(str(folder), network, EMOTIONS, {"digest": "another", "exclude": None})
    known = logits(open_run(folder).trained.model)
    assert torch.allclose(logits(network), known, atol=1e-5)
    assert not torch.allclose(before, known, atol=1e-2)
    assert record["sha256"] == hashlib.sha256((folder / "best.ckpt").read_bytes()).hexdigest()
    network.train()
    network(FACES).sum().backward()  # what was added learns all the same
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_other_classes_are_told_apart_anew(tiny_sweep: Sweep) -> None:
    folder = str(run_of(tiny_sweep, "cnn10"))
    for classes in (EMOTIONS_WITH_CONTEMPT, EMOTIONS[::-1]):
        network = built("cnn10", "model.network.width=0.25", classes=len(classes))
        head = {name: value.clone() for name, value in network.network.head.state_dict().items()}  # type: ignore[union-attr]
        start_from(folder, network, classes, {"digest": "another", "exclude": None})
        state = network.network.state_dict()
        assert all(torch.equal(state[f"head.{name}"], value) for name, value in head.items())
        trained = open_run(Path(folder)).trained.model.network.state_dict()
        assert all(torch.equal(state[name], value) for name, value in trained.items() if not name.startswith("head."))


def mobile(layers: int, weights: str | None) -> FaceModel:
    options = (f"model.weights={weights or 'null'}", "model.input.size=64", "model.network.hidden=16")
    return built("mnv2", *options, f"model.network.trainable_layers={layers}")


def test_a_backbone_is_freed_behind_a_trained_head() -> None:
    save_file(backbone().state_dict(), "backbone.safetensors")
    frozen, freed = mobile(0, "backbone.safetensors"), mobile(30, "backbone.safetensors")
    assert isinstance(frozen.network, MobileNet) and isinstance(freed.network, MobileNet)
    assert not torch.allclose(logits(frozen), logits(freed), atol=1e-2)
    freed.network.load_state_dict(freed.network.grown_from(frozen.network))
    assert torch.allclose(logits(frozen), logits(freed), atol=1e-3)
    assert freed.network.grown_from(freed.network).keys() == freed.network.state_dict().keys()
    with pytest.raises(ValueError, match="more of its layers are trained"):
        frozen.network.grown_from(freed.network)
    with torch.no_grad():
        for parameter in freed.network.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.1)
    more = mobile(80, "backbone.safetensors")
    more.network.load_state_dict(more.network.grown_from(freed.network))  # type: ignore[operator]
    assert torch.allclose(logits(more), logits(freed), atol=1e-3)
    assert not torch.allclose(logits(more), logits(frozen), atol=1e-2)
    with pytest.raises(ValueError, match="another backbone"):
        mobile(30, None).network.grown_from(frozen.network)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("source", "model", "words"),
    [
        ("cnn12", ("cnn10", "model.network.width=0.25"), "it is the deeper one"),
        ("cnn10", ("cnn10", "model.network.width=0.5"), "its model.network.width is 0.25, not 0.5"),
        ("cnn10", ("cnn10", "model.network.width=0.25", "model.input.mean=[0.3]"), "expects its pictures otherwise"),
        ("cnn10", ("cnn10", "model.network.width=0.25", "model.network.residual=false"), "no shortcuts"),
        ("cnn10", ("mnv2", "model.weights=null"), "it is no MobileNetV2"),
    ],
)
def test_weights_that_do_not_fit(source: str, model: tuple[str, ...], words: str, tiny_sweep: Sweep) -> None:
    with pytest.raises(FerError, match=words) as caught:
        start_from(str(run_of(tiny_sweep, source)), built(*model), EMOTIONS, {"digest": "", "exclude": None})
    assert str(caught.value).startswith("model.start: ")
    assert len(str(caught.value)) < 600


def test_a_network_goes_on_with_larger_faces_and_says_so(tiny_sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    folder = run_of(tiny_sweep, "cnn10")
    data = {"digest": open_run(folder).record["data"]["digest"], "exclude": None}
    network = built("cnn10", "model.network.width=0.25", "model.input.size=64")
    start_from(str(folder), network, EMOTIONS, data)
    known = open_run(folder).trained.model
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in known.state_dict().items())
    assert network.preprocess.size == 64
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "learned from faces of 48 × 48 pixels and gets 64 × 64 here" in warning
    assert "model.input.size=48 keeps its own" in warning
    caplog.clear()
    start_from(str(folder), built("cnn10", "model.network.width=0.25"), EMOTIONS, data)
    assert not caplog.records


def test_a_run_starts_from_a_file_and_says_so(tiny_sweep: Sweep, tiny_folder: Path, no_dashboard: None) -> None:
    file = Path("handed.safetensors")
    save_weights(halved(open_run(run_of(tiny_sweep, "cnn10"))), file, {})
    told = call("train.py", *quick(tiny_folder), "model=cnn12", f"model.start={file}", "optim.lr=0", "logs=still")
    assert told.status == 0, told.err
    (folder,) = Path("still/cnn12").iterdir()
    run = open_run(folder)
    assert run.record["start"] == {
        "name": "cnn10",
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    assert run.config.model.start == str(file.resolve())
    save_weights(halved(run), Path("again.safetensors"), {})
    again = open_run(Path("again.safetensors"))
    assert again.config.model.start is None
    assert again.record["start"] == run.record["start"]


def test_a_training_is_named_by_what_it_starts_from_wherever_that_lies() -> None:
    def key(*overrides: str) -> str:
        return run_key(composed("data=fer2013", *overrides), "digest")

    for place, content in (("here", b"1"), ("there", b"1"), ("elsewhere", b"2")):
        Path(place).mkdir()
        Path(place, "a").write_bytes(content)
    for option in ("model.start", "distill.teacher"):
        assert key(f"{option}=here/a") == key(f"{option}=there/a")
        assert len({key(), key(f"{option}=here/a"), key(f"{option}=elsewhere/a"), key(f"{option}=nowhere/a")}) == 4
    backbones = [key("model=mnv2", f"model.weights={place}/a") for place in ("here", "there", "elsewhere")]
    assert backbones[0] == backbones[1] != backbones[2]
    assert key() == key("data.num_workers=4")
    assert key() == key("distill.share=0.1")  # of no teacher
    assert key("model=mnv2") != key("model=mnv2", "model.network.remember=9")


def test_a_start_that_is_none(tiny_folder: Path, no_dashboard: None) -> None:
    refused(call("train.py", *quick(tiny_folder), "model.start=no.safetensors"), "model.start: there is no file")
    assert not Path("logs").exists()
