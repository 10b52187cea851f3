"""What `python -m fer.audit` does around an audit: reading, files and the table."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.markup import escape
from rich.table import Table

from fer.audit.extra import needed
from fer.audit.ferplus import Agreement, agreement
from fer.audit.findings import Findings, find_faults
from fer.audit.page import write_page
from fer.commands import reporting
from fer.config import AuditConfig, checked
from fer.data.exclude import excluded, write_exclusions
from fer.data.faces import SPLITS, Faces
from fer.data.ferplus import INDEX, join_votes
from fer.data.sources import announce, read_source
from fer.errors import FerError
from fer.files import csv_text, write_whole
from fer.runs import make_folder
from fer.terminal import console, counted, say

KINDS = ("leaks", "near_leaks", "blank", "conflicts", "suspects")


@reporting()
def audit(plain: DictConfig) -> None:
    """Audit the faces that a configuration asks for, and write what was found."""
    config = checked(plain, AuditConfig)
    kinds = _kinds(config)
    for module in ("imagehash", *(("cleanlab.filter",) if config.labels else ())):
        needed(module)  # a missing one is reported now, not after a minute's work
    faces, _ = read_source(config.data)
    announce(faces)
    voted = _voted(config, faces)  # faults in the votes, too, are reported before the minute's work
    if config.data.exclude is not None:
        faces = excluded(faces, Path(config.data.exclude).expanduser(), config.data.name == "ferplus")
    folder = Path(config.folder)
    make_folder(folder, "choose another with folder=path")
    findings = find_faults(faces, config.threshold, config.labels, config.seed)
    votes = agreement(findings, faces, voted) if voted is not None and findings.suspects else None
    try:
        before = _write(findings, votes, kinds, folder)
    except OSError as error:  # open in Excel, say
        reason = f"cannot be written ({error.strerror}); close it where it is open"
        raise FerError(f"'{error.filename2 or error.filename}' {reason}") from error
    console.print(_table(findings, votes))
    for name in ("audit.html", "audit.json", *(["suspects.csv"] if config.labels else []), "exclude.csv"):
        say(f"{folder / name}")
    if before is not None:
        say(f"{before} (the list that was there)")


def _kinds(config: AuditConfig) -> list[str]:
    if not isinstance(config.exclude, list) or not set(map(str, config.exclude)) <= set(KINDS):
        raise FerError(f"exclude: '{config.exclude}' is no list of {', '.join(KINDS)}")
    if "suspects" in config.exclude and not config.labels:
        raise FerError("exclude: suspects are not looked for with labels=false")
    if not 0 <= config.threshold <= 16:
        raise FerError(f"threshold: {config.threshold} is out of range; choose a number of bits from 0 to 16")
    if config.seed < 0:
        raise FerError(f"seed: {config.seed} is out of range; choose a number from 0")
    return list(map(str, config.exclude))


def _voted(config: AuditConfig, faces: Faces) -> Faces | None:
    """Return the faces as FER+ labels them, where its votes are given."""
    if config.votes is None:
        return None
    votes = Path(config.votes).expanduser()
    index = Path(config.index).expanduser() if config.index else votes.with_name(INDEX)
    return join_votes(faces, votes, index, contempt=True, target="majority", filters=(), key="index")


def _write(findings: Findings, votes: Agreement | None, kinds: list[str], folder: Path) -> Path | None:
    """Write all that was found, and return where the list of exclusions from before is, if it was another one."""
    found = {**findings.to_dict(), "ferplus": votes and votes._asdict()}
    write_whole(folder / "audit.json", json.dumps(found, indent=1) + "\n")
    if findings.suspects is not None:
        columns = ["picture", "given", "suggested", "quality"]
        rows = [dict(zip(columns, row, strict=True)) for row in found["suspected_labels"]]
        write_whole(folder / "suspects.csv", csv_text(rows, columns))
    write_page(findings, folder / "audit.html")
    return write_exclusions(folder / "exclude.csv", exclusions(findings, kinds))


def exclusions(findings: Findings, kinds: list[str]) -> dict[str, str]:
    """Return the training pictures to leave out, by their origins, each with the reasons."""
    rows: dict[str, NDArray[np.intp]] = {
        "leaks": findings.leaked_training(near=False),
        "near_leaks": findings.leaked_training(near=True),
        "blank": findings.blank,
        "conflicts": np.concatenate([np.empty(0, np.intp), *findings.conflicts]).astype(np.intp),
        "suspects": np.array([found.row for found in findings.suspects or ()], dtype=np.intp),
    }
    reasons = {
        "leaks": "also in validation or test",
        "near_leaks": "nearly or exactly the same picture in validation or test",
        "blank": "blank",
        "conflicts": "under several labels",
        "suspects": "suspected label",
    }
    train = SPLITS.index("train")
    found: dict[str, str] = {}
    for kind in kinds:
        for row in rows[kind]:
            if findings.faces.splits[row] == train:
                origin = findings.faces.origins[row]
                found[origin] = f"{found[origin]}; {reasons[kind]}" if origin in found else reasons[kind]
    return found


def _table(findings: Findings, votes: Agreement | None) -> Table:
    table = Table(title=f"Audit of {escape(findings.faces.source)}")
    table.add_column("finding")
    table.add_column("pictures", justify="right")
    table.add_column("", justify="right")
    table.add_row("all", f"{len(findings.faces):,}", f"{findings.distinct:,} distinct")
    for name, groups in (("identical to another", findings.identical), ("… under several labels", findings.conflicts)):
        table.add_row(name, f"{sum(map(len, groups)):,}", counted(len(groups), "group"))
    for name, rows in findings.leaks().items():
        one, _, other = name.split(" ")
        table.add_row(f"… {one} pictures that are also in {other}", f"{len(rows):,}", "")
    near = {row for pair in findings.near for row in pair[:2]}
    pairs = counted(len(findings.near), "pair")
    table.add_row(f"nearly another ({findings.threshold} of 64 bits)", f"{len(near):,}", pairs)
    table.add_row("blank", f"{len(findings.blank):,}", f"{len(findings.nearly_blank):,} more nearly so")
    table.add_row("decoded in part", f"{len(findings.partly_decoded):,}", "")
    suspects = "not looked for" if findings.suspects is None else f"{len(findings.suspects):,}"
    table.add_row("suspected labels", suspects, "")
    if votes is not None:
        table.add_row(
            "… FER+ doubts them too", f"{100 * votes.suspects_doubted:.0f} %", f"all: {100 * votes.doubted:.0f} %"
        )
        table.add_row("… and suggests the same", f"{100 * votes.suspects_confirmed:.0f} %", "")
    return table
