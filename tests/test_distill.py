"""Learning from a trained network beside the labels."""

import hashlib
import json
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fer.build import build_model
from fer.callbacks.history import read_rows
from fer.checkpoint import load_trained
from fer.classifier import EmotionClassifier
from fer.config import DistillConfig, OptimConfig, TrainConfig, checked
from fer.distill import Teacher, open_teacher
from fer.errors import FerError
from fer.labels import EMOTIONS
from fer.leaderboard import collect, rows
from fer.runs import read_config, read_environment
from fer.weights import halved, open_run, save_weights
from tests.conftest import Sweep, call, composed, quick, refused, run_of


class Opinion(nn.Module):
    """Is as sure of one class as of the next, and of no other."""

    def forward(self, faces: Tensor) -> Tensor:
        logits = torch.full((len(faces), 7), -1e9)
        logits[:, 2:4] = 0
        return logits


def faces(count: int) -> Tensor:
    return torch.zeros(count, 1, 48, 48, dtype=torch.uint8)


def test_labels_and_shares_are_mixed_with_the_opinion() -> None:
    teacher = Teacher([Opinion()], 0.6, {})
    expected = torch.tensor([[0.4, 0, 0.3, 0.3, 0, 0, 0], [0, 0, 0.7, 0.3, 0, 0, 0]])
    labels = torch.tensor([0, 2])
    assert torch.allclose(teacher.mixed(labels, teacher.opinion(faces(2))), expected)
    assert torch.allclose(teacher.mixed(torch.eye(7)[labels], teacher.opinion(faces(2))), expected)


class Logits(nn.Module):
    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    def forward(self, faces: Tensor) -> Tensor:
        return self.logits.expand(len(faces), -1)


def test_of_several_every_batch_asks_one_and_all_of_them_are_asked() -> None:
    sure = Logits(torch.tensor([0.0, 0, 0, 0, 0, 0, 1e9]))
    teacher = Teacher([Opinion(), sure], 1.0, {})
    torch.manual_seed(0)
    said = [teacher.mixed(torch.tensor([0, 0]), teacher.opinion(faces(2))) for _ in range(400)]
    undecided, certain = torch.tensor([0, 0, 0.5, 0.5, 0, 0, 0]), torch.eye(7)[6]
    assert all(torch.equal(rows, undecided.expand(2, 7)) or torch.equal(rows, certain.expand(2, 7)) for rows in said)
    assert torch.allclose(torch.stack(said).mean(dim=(0, 1)), (undecided + certain) / 2, atol=0.05)
    torch.manual_seed(0)  # as a resumed run draws what an uninterrupted one would have
    assert all(torch.equal(teacher.mixed(torch.tensor([0, 0]), teacher.opinion(faces(2))), rows) for rows in said[:50])


@pytest.mark.parametrize("model", ["cnn12", "mnv2_ft"])
def test_a_teacher_says_the_same_without_its_batch_norms(model: str) -> None:
    torch.manual_seed(0)
    network = build_model(composed(f"model={model}", "model.weights=null").model, 7)
    network(torch.randint(0, 256, (8, 1, 48, 48), dtype=torch.uint8))  # statistics that are not zero and one
    network.eval()
    batch = torch.randint(0, 256, (4, 1, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        expected = network(batch).softmax(dim=1)
    teacher = Teacher([network], 1.0, {})
    assert torch.allclose(teacher.opinion(batch), expected, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("targets", [torch.tensor([0, 1]), torch.eye(7)[[0, 1]].bool()])
def test_there_is_nothing_to_learn_for_a_student_that_agrees(targets: Tensor) -> None:
    agreeing = torch.tensor([0.01, 0.29, 0.1, 0.2, 0.1, 0.1, 0.2]).log()
    teacher = Teacher([Logits(agreeing)], 1.0, {})
    for share, smallest, largest in ((1.0, 0.0, 1e-6), (0.5, 0.05, 1.0)):
        teacher.share = share
        network = Logits(agreeing)
        student = EmotionClassifier(network, OptimConfig(label_smoothing=0), EMOTIONS, teacher=teacher)
        objective = student.training_step((faces(2), torch.tensor([0, 1]), targets), 0)
        (gradient,) = torch.autograd.grad(objective, [network.logits])
        assert smallest <= gradient.abs().max() <= largest
        assert "teacher" not in " ".join(student.state_dict())
    assert not any(parameter.requires_grad for parameter in teacher.models[0].parameters())


def test_a_run_learns_from_a_run_and_from_a_file(
    tiny_sweep: Sweep, tiny_folder: Path, no_dashboard: None, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_of(tiny_sweep, "cnn10")
    file = Path("handed/teacher.safetensors")
    save_weights(halved(open_run(run)), file, {})
    objectives = []
    for number, teacher in enumerate([run, file]):
        told = call("train.py", *quick(tiny_folder), "model=cnn12", f"logs=logs{number}", f"distill.teacher={teacher}")
        assert told.status == 0, told.err
        assert "learned from other data" not in caplog.text
        (folder,) = Path(f"logs{number}/cnn12").iterdir()
        config = checked(read_config(folder), TrainConfig)
        assert config.distill.teacher == str(teacher.resolve())  # found again from wherever it is resumed
        record = read_environment(folder)["teacher"]
        weights = file if teacher == file else run / "best.ckpt"
        assert record["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
        assert (record["name"], record["share"]) == ("cnn10", 0.7)
        assert load_trained(folder / "best.ckpt", config.model).name == "cnn12"  # a network like any other
        objectives.append(read_rows(folder / "metrics.csv")[0]["train/objective"])
    alone = read_rows(run_of(tiny_sweep, "cnn12") / "metrics.csv")[0]["train/objective"]
    assert objectives[0] == pytest.approx(objectives[1], rel=1e-3)  # but for the halved precision
    assert alone != pytest.approx(objectives[0], rel=3e-3)
    exported = Path("student.safetensors")
    save_weights(halved(open_run(folder)), exported, {})
    student = open_run(exported)
    assert student.record["teacher"]["name"] == "cnn10"
    assert student.config.distill.teacher is None
    assert str(file.parent) not in json.dumps(student.record)


def test_a_run_learns_from_several(tiny_sweep: Sweep, tiny_folder: Path, no_dashboard: None) -> None:
    run, file = run_of(tiny_sweep, "cnn10"), Path("teacher.safetensors")
    save_weights(halved(open_run(run_of(tiny_sweep, "cnn12"))), file, {})
    told = call("train.py", *quick(tiny_folder), f"distill.teacher=[{run},{file},{file}]")
    assert told.status == 0, told.err
    (folder,) = Path("logs/cnn10").iterdir()
    assert checked(read_config(folder), TrainConfig).distill.teachers == [
        str(path.resolve()) for path in (run, file, file)
    ]
    assert [record["name"] for record in read_environment(folder)["teacher"]] == ["cnn10", "cnn12", "cnn12"]
    (row,) = rows(collect(folder.parent))
    assert row["status"] == "finished"
    assert call("evaluate.py", f"run={folder}", "faces=false").status == 0
    facts = json.loads((folder / "evaluation" / "test" / "metrics.json").read_text())
    sums = [hashlib.sha256(path.read_bytes()).hexdigest()[:8] for path in (run / "best.ckpt", file)]
    known = f"cnn10 (best.ckpt, SHA-256 {sums[0]}…), 2 × cnn12 (teacher.safetensors, SHA-256 {sums[1]}…)"
    assert facts["taught by"] == known
    assert known in (folder / "evaluation" / "test" / "report.html").read_text(encoding="utf-8")
    assert "started from" not in facts
    (folder / "metrics.json").unlink()  # as if it had been stopped
    assert call("train.py", f"resume={folder}").status == 0


def test_a_run_goes_on_with_its_own_teacher_alone(tiny_sweep: Sweep, tiny_folder: Path, no_dashboard: None) -> None:
    teacher = Path("teacher.safetensors")
    save_weights(halved(open_run(run_of(tiny_sweep, "cnn10"))), teacher, {})
    arguments = (*quick(tiny_folder), "model=cnn12", f"distill.teacher={teacher}")
    assert call("train.py", *arguments).status == 0
    (folder,) = Path("logs/cnn12").iterdir()
    (folder / "metrics.json").unlink()  # as if it had been stopped
    save_weights(halved(open_run(run_of(tiny_sweep, "cnn10"))), teacher, {"another": 1})
    refused(call("train.py", f"resume={folder}"), "distill.teacher: ", "put that back")


def test_a_calibrated_file_teaches_what_its_run_teaches(tiny_sweep: Sweep) -> None:
    run = halved(open_run(run_of(tiny_sweep, "cnn10")))
    said = []
    for name, temperature in (("raw", 1.0), ("calibrated", 0.5)):
        run.trained.model.temperature = temperature
        save_weights(run, Path(f"{name}.safetensors"), {})
        assert open_run(Path(f"{name}.safetensors")).trained.model.temperature == temperature
        teacher = open_teacher(DistillConfig(f"{name}.safetensors"), EMOTIONS, {"digest": "", "exclude": None})
        assert teacher is not None
        said.append(teacher.opinion(faces(2)))
    assert torch.equal(*said)


def test_a_teacher_that_is_named_twice_is_asked_twice_as_often(tiny_sweep: Sweep) -> None:
    one, other = (str(run_of(tiny_sweep, model)) for model in ("cnn10", "cnn12"))
    teacher = open_teacher(DistillConfig([other, one, other]), EMOTIONS, {"digest": "", "exclude": None})
    assert teacher is not None
    first, second, third = teacher.models
    assert first is third is not second  # read once, and moved to the device once
    assert isinstance(teacher.record, list)
    assert [record["name"] for record in teacher.record] == ["cnn12", "cnn10", "cnn12"]
    depths = [sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) for model in teacher.models]
    assert depths[0] == depths[2] > depths[1]


def test_a_teacher_of_other_data_is_told_of(tiny_sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    config = DistillConfig(str(run_of(tiny_sweep, "cnn10")))
    with caplog.at_level(logging.WARNING):
        assert open_teacher(config, EMOTIONS, {"digest": "another", "exclude": None}) is not None
    assert "learned from other data" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["distill.teacher=nowhere"], ["distill.teacher: ", "nowhere' does not exist; give a run's folder"]),
        (["distill.teacher=no.safetensors"], ["distill.teacher: there is no file", "no.safetensors"]),
        (["distill.teacher=true"], ["distill.teacher: 'True' is no path"]),
        (["distill.teacher=x", "distill.share=2"], ["distill.share: 2.0 is out of range"]),
    ],
)
def test_a_teacher_that_is_none(arguments: list[str], words: list[str], tiny_folder: Path, no_dashboard: None) -> None:
    refused(call("train.py", *quick(tiny_folder), *arguments), *words)
    assert not Path("logs").exists()


def test_a_teacher_of_other_classes(tiny_sweep: Sweep) -> None:
    teacher = str(run_of(tiny_sweep, "cnn10"))
    with pytest.raises(FerError, match="same classes in the same order") as error:
        open_teacher(DistillConfig(teacher), EMOTIONS[::-1], {"digest": "", "exclude": None})
    assert str(error.value).startswith("distill.teacher: ")
