"""`disobey diagnose PAIR`: a report on a teacher and its student, from files, folders or named models."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

import tyro

from disobey.cli.stages import stages

if TYPE_CHECKING:
    from disobey.diagnosis.input.pair import Pair
    from disobey.records.results import Result


@dataclass(frozen=True)
class DiagnoseOptions:
    """Options of `disobey diagnose`."""

    pair: tyro.conf.Positional[tuple[str, ...]] = ()
    """file or folder with teacher and student (.npz, .npy, .safetensors, .parquet, .csv, .jsonl), or a file an array:
    teacher.npy student.npy labels.npy; files whose names say nothing are taken in this order. Of boxes:
    teacher.json student.json (COCO's lists of found boxes), with --labels annotations.json"""
    teacher: str | None = None
    """teacher's file, or hf:NAME (a model on the Hugging Face hub, or a local folder)"""
    student: str | None = None
    """student's file, or hf:NAME"""
    labels: str | None = None
    """file with the labels, if the other files hold none"""
    cluster: str | None = None
    """file with the text, prompt or image that each example belongs to, if the other files hold none (an array
    'cluster'): intervals are then over these, not over examples"""
    data: str | None = None
    """examples for hf: models: hf:NAME, or a local .csv, .tsv, .jsonl, .parquet or .txt file"""
    split: str = "test"
    """split that the predictions are on (train is judged as such), and that is loaded for hf: models"""
    limit: int = 2000
    """maximum number of examples (or texts) that hf: models are run on"""
    values: Literal["auto", "logits", "log-probabilities", "probabilities"] = "auto"
    """what the scores are; detected by default"""
    twin: str | None = None
    """file (or hf:NAME) of the control: the same student trained without the teacher"""
    temperature: float = 4.0
    """temperature at which divergences are given beside T = 1"""
    level: float = 0.95
    """confidence level of the intervals"""
    json: bool = False
    """print the result as JSON on standard output, and nothing else there"""
    strict: bool = False
    """exit status 1 if a check warns"""
    out: Path | None = None
    """folder for the report; default ./disobey-runs/diagnose-NAME"""
    verbose: bool = False
    """print what is well, too, not only warnings and notes"""
    quiet: bool = False
    """print neither progress nor findings"""


def main(argv: list[str]) -> int:
    """Exit status: 0 done, 1 a warning and --strict; unusable input raises `Refusal` before anything is written."""
    argv, file = _old_json(argv)
    options = tyro.cli(
        DiagnoseOptions, args=argv, prog="disobey diagnose", description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)
    )
    from disobey.diagnosis.diagnose import report
    from disobey.diagnosis.evidence.evidence import gather
    from disobey.errors import refusal

    if not 0 < options.temperature < float("inf"):
        raise refusal("temperature-range", "a number above 0", options.temperature, where="--temperature")
    if not 0.5 <= options.level < 1:
        raise refusal("level-range", "a number from 0.5 to 1", options.level, "0.95", where="--level")
    with stages(options.quiet) as tell:
        tell("opening files")
        pair = opened(options)
        _writable(options, pair.name, file)
        inputs: list[dict[str, Any]] = []
        packing = Thread(target=_packed)
        hashing = Thread(target=_recorded, args=(_files(options), inputs), daemon=True)  # an interrupt need not wait
        packing.start()
        hashing.start()
        tell(f"reading {pair.shape[0]:,} examples of {pair.shape[1]:,} classes")
        evidence = gather(pair, temperature=options.temperature, level=options.level)
        result = report(evidence, tell=tell)
        tell("drawing the report")
        packing.join()
        hashing.join()
        written = _write(result, options, pair.name, inputs)
    if file is not None:
        result.write(file)
    warnings = [f for f in _findings(result) if f.status == "warning"]
    if options.json:
        sys.stdout.write(result.to_json())
    elif not options.quiet:
        _say(result, written, options.verbose)
    return 1 if options.strict and warnings else 0


def _old_json(argv: list[str]) -> tuple[list[str], Path | None]:
    """``--json FILE`` and ``--json -``, as they were in the release before: the words that are left, and the file."""
    left, file = [], None
    words = iter([part for word in argv for part in (word.split("=", 1) if word.startswith("--json=") else [word])])
    for word in words:
        if word != "--json":
            left.append(word)
            continue
        after = next(words, "")
        if after == "-" or after.endswith(".json"):
            said = (
                "prints the result" if after == "-" else "prints the result; result.json is written beside the report"
            )
            print(f"disobey: --json {said}; --json {after} stops working next release", file=sys.stderr)
        left += ["--json"] * (not after.endswith(".json"))
        if after.endswith(".json"):
            file = Path(after)
        elif after not in ("", "-"):
            left.append(after)
    return left, file


def _packed() -> None:
    """Packs the report's scripts, which takes a second, while the pair is read."""
    from disobey.reports.scripts import library

    library()


def _files(options: DiagnoseOptions) -> dict[str, Path]:
    """Every input file that is read, by its name as given; models and data of the hub are no files."""
    from disobey.diagnosis.input.boxes import expanded, is_coco
    from disobey.diagnosis.input.readers.folder import files_at

    given = (*options.pair, options.teacher, options.student, options.labels, options.cluster, options.twin)
    paths = [Path(name) for name in given if name is not None and not name.startswith("hf:")]
    found = {str(f): f for path in paths for f in (expanded(path) if is_coco(path) else files_at(path))}
    if options.data is not None:
        local = Path(options.data.removeprefix("hf:")).expanduser()  # as `load_rows` understands it
        if local.is_file() or not options.data.startswith("hf:"):
            found[options.data.removeprefix("hf:")] = local
    return found


def _recorded(files: dict[str, Path], records: list[dict[str, Any]]) -> None:
    """Adds what is known of the files to ``records``; hashing, like packing, lets other threads run."""
    from disobey.records.provenance import file_record

    records += [file_record(path, name) for name, path in files.items()]


def opened(options: DiagnoseOptions) -> Pair:
    """The pair that the options name. Raises `Refusal` where they name none or two."""
    from disobey.diagnosis.input.join import read_pair, read_two, with_twin
    from disobey.errors import refusal

    two = (options.teacher, options.student)
    if options.data is not None and not any(name and name.startswith("hf:") for name in two):
        raise refusal(
            "data-without-models",
            "hf: models to run on it",
            "none",
            "--teacher hf:NAME --student hf:NAME, or no --data",
            where="--data",
        )
    if options.pair and any(two):
        raise refusal("two-inputs", "PAIR, or --teacher and --student", "both", where="options")
    columns = {"labels": options.labels, "cluster": options.cluster}
    if options.pair:
        pair = read_pair(*options.pair, **columns, values=options.values, split=options.split)
    elif all(two):
        assert options.teacher is not None
        assert options.student is not None
        named = [name.startswith("hf:") for name in two if name]
        if any(named):
            return _named(options, all(named))
        pair = read_two(options.teacher, options.student, **columns, values=options.values, split=options.split)
    elif any(two):
        missing = "--student" if options.teacher else "--teacher"
        raise refusal(
            "one-input",
            f"{missing} beside the other",
            "one of them",
            "disobey diagnose --teacher t.npz --student s.npz",
            where="options",
        )
    else:
        raise refusal(
            "no-input", "PAIR, or --teacher and --student", "neither", "disobey diagnose pair.npz", where="options"
        )
    return pair if options.twin is None else with_twin(pair, options.twin, values=options.values)


def _named(options: DiagnoseOptions, both: bool) -> Pair:
    from disobey.diagnosis.input.hub import predict_named
    from disobey.errors import refusal

    if not both:
        raise refusal(
            "files-and-models", "hf: for teacher and student, or files for both", "one of each", where="options"
        )
    if options.data is None:
        raise refusal(
            "missing-data", "--data with hf: models", "none", "--data hf:NAME or a local file", where="options"
        )
    if options.labels is not None:
        raise refusal(
            "labels-beside-models",
            "labels in --data beside hf: models",
            options.labels,
            "a column 'label'",
            where="--labels",
        )
    if options.cluster is not None:
        raise refusal(
            "cluster-beside-models", "hf: models, whose texts are the clusters", options.cluster, where="--cluster"
        )
    if options.twin is not None and not options.twin.startswith("hf:"):
        raise refusal("twin-file", "hf:NAME beside hf: models", options.twin, where="--twin")
    assert options.teacher is not None
    assert options.student is not None
    with contextlib.suppress(ImportError):
        from huggingface_hub.utils import logging as hub

        hub.set_verbosity_error()  # without a network one message, not one a retry
    if options.quiet or not sys.stderr.isatty():
        with contextlib.suppress(ImportError):  # progress is printed elsewhere, where it is needed
            from transformers.utils import logging

            logging.disable_progress_bar()
    return predict_named(
        options.teacher, options.student, options.data, twin=options.twin, split=options.split, limit=options.limit
    )


def _folder(options: DiagnoseOptions, name: str) -> Path:
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:80].strip(".") or "pair"
    return options.out or Path("disobey-runs") / f"diagnose-{safe}"


def _writable(options: DiagnoseOptions, name: str, file: Path | None) -> None:
    """Refuses places that cannot be written to, before anything is computed."""
    from disobey.cli.places import refuse_unwritable

    refuse_unwritable(_folder(options, name), "--out")
    if file is not None:
        refuse_unwritable(file.parent, "--json")


def _write(result: Result, options: DiagnoseOptions, name: str, inputs: list[dict[str, Any]]) -> Path:
    from disobey.records.files import write_text
    from disobey.records.provenance import stamp
    from disobey.reports.page import write

    folder = _folder(options, name)
    provenance = stamp() | ({"inputs": inputs} if inputs else {})
    report = write(result, folder, provenance)  # draws everything before it writes anything
    result.write(folder / "result.json")
    write_text(folder / "provenance.json", json.dumps(provenance, indent=1))
    return report


def _findings(result: Result) -> tuple:
    from disobey.records.results import Finding

    return result.of(Finding)


def _say(result: Result, written: Path, verbose: bool) -> None:
    """The verdict's reasons, most urgent first: what nobody has to act on is counted, unless ``verbose``."""
    from disobey.reports.cells import prose
    from disobey.reports.summary import by_urgency, printable

    marks = {"ok": "  ok     ", "note": "  note   ", "warning": "  WARNING"}
    findings = _findings(result)
    for finding in by_urgency(findings):
        if finding.status == "ok" and not verbose:
            continue
        print(f"{marks[finding.status]}  {printable(finding.name)}: {prose(printable(finding.message))}")
        if finding.status == "warning" and finding.advice:
            print(f"             try: {prose(printable(finding.advice))}")
    well = sum(finding.status == "ok" for finding in findings)
    if well and not verbose:
        print(f"  ok       {well} checks found nothing to mend (--verbose shows them)")
    print(f"\n{prose(printable(result.summary))}\nreport: {written}")
