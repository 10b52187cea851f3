"""Files of weights: small, free of their machine, and worth on every machine what they were worth on the first."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fer.errors import FerError
from fer.evaluation import Evaluator
from fer.labels import EMOTIONS
from fer.weights import KEY, halved, measured, open_run, save_weights
from tests.conftest import ROOT, Sweep, call, link, refused, run_of


@pytest.fixture(scope="module")
def file(tiny_sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "cnn10.safetensors"
    command = [sys.executable, "-m", "fer.export", f"run={run_of(tiny_sweep, 'cnn10')}", f"file={path}"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert told.returncode == 0, told.stderr
    assert "% on the validation split" in told.stdout
    return path


def test_the_file_holds_the_best_weights_in_half_precision(file: Path, tiny_sweep: Sweep) -> None:
    folder = run_of(tiny_sweep, "cnn10")
    saved, run = open_run(file), open_run(folder)
    assert file.stat().st_size < 0.6 * 4 * sum(p.numel() for p in run.trained.model.parameters()) + 20_000
    assert (saved.trained.name, saved.trained.classes, saved.trained.epoch) == run.trained[1:]
    expected = run.trained.model.state_dict()
    for name, value in saved.trained.model.state_dict().items():
        assert torch.equal(value, expected[name].half().float() if value.is_floating_point() else expected[name])


def test_a_long_training_is_handed_on_though_half_precision_cannot_count_its_steps(tiny_sweep: Sweep) -> None:
    run = open_run(run_of(tiny_sweep, "cnn10"))
    counters = [value for name, value in run.trained.model.named_buffers() if name.endswith("num_batches_tracked")]
    for counter in counters:
        counter.fill_(70_000)
    assert counters
    save_weights(halved(run), Path("long.safetensors"), {})
    Path("any.txt").touch()
    assert Path("long.safetensors").stat().st_mode == Path("any.txt").stat().st_mode  # others may read it
    state = open_run(Path("long.safetensors")).trained.model.state_dict()
    assert {int(value) for name, value in state.items() if name.endswith("num_batches_tracked")} == {70_000}


def test_the_file_names_no_place_of_the_machine_that_wrote_it(file: Path, tiny_folder: Path) -> None:
    with safe_open(file, "pt") as content:
        text = content.metadata()[KEY]
    assert str(tiny_folder) not in text
    assert str(tiny_folder.parent) not in text
    record = json.loads(text)["record"]
    assert record["seed"] == 0
    assert record["data"]["digest"]


def test_an_evaluation_repeats_the_accuracy_that_the_file_records(file: Path, tiny_folder: Path) -> None:
    told = call("evaluate.py", f"run={file}", "split=val", f"data_root={tiny_folder}")
    assert told.status == 0, told.err
    found: dict[str, Any] = json.loads(Path("logs/weights/cnn10/evaluation/val/metrics.json").read_text())
    recorded = measured(file)
    assert recorded["pictures"] == found["count"]
    assert recorded["accuracy"] == {
        "plain": found["accuracy"],
        "flip": found["flip"]["accuracy"],
        "ten": found["ten"]["accuracy"],
    }


def test_the_file_is_calibrated_on_validation(file: Path, tiny_sweep: Sweep, tiny_folder: Path) -> None:
    assert open_run(run_of(tiny_sweep, "cnn10")).trained.model.temperature == 1.0
    evaluator = Evaluator("val", data_root=str(tiny_folder), faces=False)
    run = open_run(file)
    found = evaluator.score(run).scores["plain"]
    assert run.trained.model.temperature != 1.0
    told = json.loads(evaluator.evaluate(file).report.with_name("metrics.json").read_text())
    assert told["temperature"] == pytest.approx(run.trained.model.temperature, abs=1e-4)
    run.trained.model.temperature = 1.0
    raw = evaluator.score(run).scores["plain"]
    assert found.loss < raw.loss
    assert found.accuracy == raw.accuracy


def test_means_of_several_views_are_calibrated_too(file: Path, tiny_folder: Path) -> None:
    evaluator = Evaluator("val", data_root=str(tiny_folder), faces=False)
    run = open_run(file)
    model = run.trained.model
    found, kept = evaluator.score(run), dict(model.view_temperatures)
    assert set(kept) == {"flip", "ten"}
    told = json.loads(evaluator.evaluate(file).report.with_name("metrics.json").read_text())
    for view, temperature in kept.items():
        assert told.get(f"temperature, {view}", 1.0) == pytest.approx(temperature, abs=1e-4)
    model.view_temperatures = {}
    raw = evaluator.score(run)
    assert set(kept.values()) != {1.0}
    for view, temperature in kept.items():
        torch.testing.assert_close(found.logits[view], raw.logits[view] / temperature)
        assert (found.scores[view].loss < raw.scores[view].loss) == (temperature != 1.0)
        assert found.scores[view].accuracy == raw.scores[view].accuracy
    assert torch.equal(found.logits["plain"], raw.logits["plain"])


def test_a_file_that_is_exported_again_stays_the_same(file: Path, tiny_folder: Path) -> None:
    again = Path("again.safetensors").absolute()
    command = [sys.executable, "-m", "fer.export", f"run={file}", f"file={again}", f"data_root={tiny_folder}"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert told.returncode == 0, told.stderr
    assert "Calibrated with a temperature of " in told.stdout
    assert "divided by further temperatures: " in told.stdout
    assert again.read_bytes() == file.read_bytes()


def content_of(file: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    with safe_open(file, "pt") as source:
        tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118  # no dict
        return json.loads(source.metadata()[KEY]), tensors


def test_a_file_without_a_temperature_has_one_of_1(file: Path) -> None:
    content, tensors = content_of(file)
    del content["temperature"], content["view_temperatures"]
    save_file(tensors, "older.safetensors", {KEY: json.dumps(content)})
    model = open_run(Path("older.safetensors")).trained.model
    assert (model.temperature, model.view_temperatures) == (1.0, {})


@pytest.mark.parametrize("temperature", [0, -1, 1e-9, 10**400, "NaN", None])
def test_a_temperature_that_is_none_is_refused(file: Path, temperature: object) -> None:
    content, tensors = content_of(file)
    for bad in ({"temperature": temperature}, {"view_temperatures": {"ten": temperature}}):
        save_file(tensors, "bad.safetensors", {KEY: json.dumps({**content, **bad})})
        with pytest.raises(FerError, match=r"bad\.safetensors.*does not fit"):
            open_run(Path("bad.safetensors"))


def test_a_folder_of_files_is_evaluated_like_one_of_runs(file: Path, tiny_folder: Path) -> None:
    handed = Path("handed")
    handed.mkdir()
    for name in ("one", "two"):
        shutil.copyfile(file, handed / f"{name}.safetensors")
    told = call("evaluate.py", f"run={handed}", "ensemble=true", f"data_root={tiny_folder}", "faces=false")
    assert told.status == 0, told.err
    assert "mean of 2" in told.out
    table = Path("logs/weights/handed/evaluation-test.md").read_text()
    assert "| two | plain | 48 |" in table
    assert Path("logs/weights/one/evaluation/test/report.html").is_file()
    assert Path("logs/weights/handed/evaluation/test/report.html").is_file()
    assert len(list(handed.iterdir())) == 2


def test_other_data_than_its_own_are_refused(file: Path) -> None:
    told = call("evaluate.py", f"run={file}")  # FER2013 is not here
    refused(told, "FER2013 was not found", "data_root=")


def test_bad_files_are_named(tmp_path: Path, file: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "others.safetensors")
    with safe_open(file, "pt") as content:
        metadata = content.metadata()
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "unfit.safetensors", metadata)
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "list.safetensors", {KEY: "[1]"})
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "empty.safetensors", {KEY: '{"config": null}'})
    for name, reason in (
        ("gone", "no f"),
        ("broken", "damaged"),
        ("others", "not of this program"),
        ("unfit", "fit"),
        ("list", "damaged"),
        ("empty", "fit"),
    ):
        with pytest.raises(FerError, match=f"{name}.safetensors.*{reason}|{reason}.*{name}.safetensors"):
            open_run(tmp_path / f"{name}.safetensors")
        refused(call("evaluate.py", f"run={tmp_path / name}.safetensors"), f"{name}.safetensors")


def test_an_export_must_be_a_file_of_weights(tiny_sweep: Sweep) -> None:
    command = [sys.executable, "-m", "fer.export", f"run={run_of(tiny_sweep, 'cnn10')}", "file=model.pth"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert told.returncode == 1
    assert "must end in .safetensors" in told.stderr
    assert "Traceback" not in told.stderr


HIDDEN = '\\${oc.create:\\${oc.decode:"{_tar\\${oc.decode:get_}: os.getpid}"}}'


@pytest.mark.parametrize(
    "network",
    [
        {"_target_": "os.system"},
        {"_target_": "fer.models.cnn.CNN", "depth": {"_target_": "os.getpid"}},
        {"_target_": "fer.models.cnn.CNN", "depth": HIDDEN},
        {},
    ],
)
def test_a_file_that_would_run_something_else_is_not_opened(file: Path, network: dict[str, Any]) -> None:
    content, tensors = content_of(file)
    content["config"]["model"]["network"] = network
    save_file(tensors, "bad.safetensors", {KEY: json.dumps(content)})
    with pytest.raises(FerError, match=r"bad\.safetensors.*(is not opened|not here)"):
        open_run(Path("bad.safetensors"))


def test_the_readme_asks_a_trained_network(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = (
        block.split("```")[0]
        for block in (ROOT / "README.md").read_text().split("```python\n")[1:]
        if "open_run" in block
    )
    link(Path("weights"), ROOT / "weights")
    Path("path/to").mkdir(parents=True)
    link(Path("path/to/faces"), tiny_folder / "test" / "happy")
    exec(example, {})
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [name for name, *_ in told] == sorted(path.name for path in (tiny_folder / "test" / "happy").iterdir())
    assert {emotion for _, emotion, _ in told} <= set(EMOTIONS)


def test_a_damaged_report_spoils_no_use_of_the_weights(file: Path) -> None:
    for number, content in enumerate(("", "[]", "{}")):
        place = Path("logs/weights/cnn10/evaluation", str(number))
        place.mkdir(parents=True)
        (place / "metrics.json").write_text(content)
    assert open_run(file).folder == Path("logs/weights/cnn10-2")


def test_reports_of_another_file_of_the_same_name_are_kept(file: Path, tiny_folder: Path) -> None:
    other = Path("other", file.name)
    other.parent.mkdir()
    run = halved(open_run(file))
    with torch.no_grad():
        next(run.trained.model.parameters()).mul_(0.5)
    save_weights(run, other, {})
    for path, folder in ((file, "cnn10"), (other, "cnn10-2"), (file, "cnn10"), (other, "cnn10-2")):
        told = call("evaluate.py", f"run={path}", "split=val", f"data_root={tiny_folder}", "faces=false")
        assert told.status == 0, told.err
        found = json.loads(Path("logs/weights", folder, "evaluation/val/metrics.json").read_text())
        assert found["SHA-256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(list(Path("logs/weights").iterdir())) == 2
