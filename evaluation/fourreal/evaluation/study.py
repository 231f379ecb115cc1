"""`fourreal study`: does two-stream synchronization do what the papers say? Train it, its rivals, and measure.

fourreal study --recipe cpu --assets my_unseen_assets --out outputs/study
fourreal study --recipe quick --out outputs/quick-study
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fourreal.evaluation.records import Recorded, Row, record
from fourreal.evaluation.shelf import Shelf
from fourreal.evaluation.studies.config import RECIPES, Config
from fourreal.evaluation.studies.data import StudyData, make_data
from fourreal.evaluation.studies.figures import write_figures
from fourreal.evaluation.studies.interpolation import check_base, weakness
from fourreal.evaluation.studies.jobs import Jobs
from fourreal.evaluation.studies.ledger import Ledger, Record
from fourreal.evaluation.studies.parts import check_parts
from fourreal.evaluation.studies.progress import tell
from fourreal.evaluation.studies.reconstructions import reconstruct_some
from fourreal.evaluation.studies.report import write_report
from fourreal.evaluation.studies.scores import generate_and_score
from fourreal.evaluation.studies.summary import Findings, findings
from fourreal.evaluation.studies.training import base_folder, model_of, train_arms, train_base
from fourreal.platform.config import as_document, command
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage


@dataclass(frozen=True)
class Study:
    """What came of it: what was found on each test set, and where it lies."""

    found: list[Findings]
    out: Path
    recorded: Recorded


def run(config: Config) -> None:
    """Run the study, or go on with it. Raises UserError when a job fails or the base model is too weak."""
    if config.dry_run:
        tell(config)
    else:
        study(config)


def study(config: Config) -> Study:
    """Like `run`, with the result."""
    ledger = Ledger.open(config)
    with ExitStack() as session:
        jobs = Jobs(config.out / "logs", session)
        data = make_data(config, jobs, ledger)
        base_fit = train_base(config, data, jobs, ledger)
        base = _check_base(config, data, ledger)
        fits = train_arms(config, data, jobs, ledger)
        generate_and_score(config, data.tests, jobs, ledger)
    parts = check_parts(config, data.tests, ledger)
    reconstruct_some(config, data.tests, ledger)
    sources = {test: Shelf(Storage(folder)).sources for test, folder in data.tests.items()}
    found = findings(config, sources, ledger)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_figures(folder, config, found, base_fit, fits, data.tests)
        text = write_report(folder, config, found, base, fits, parts)
        for path in sorted(folder.iterdir()):
            Storage(str(config.out / "report")).write_file(path.name, path)
        recorded = _record(folder, config, found, data)
    print(text)
    print(f"tables and pictures: {config.out / 'report'}\nMLflow: {recorded.run}")
    return Study(found, config.out, recorded)


def _check_base(config: Config, data: StudyData, ledger: Ledger) -> Record:
    """Refuse to go on with a base model that does not beat a linear blend, unless that is allowed."""
    folder = model_of(base_folder(config))
    result = ledger.once("base/checked", lambda: check_base(folder, data.tests, config))
    weak = weakness(result)
    if weak and not config.allow_weak_base:
        raise UserError(
            f"the base model does not beat a linear blend between given frames ({weak}), so what is built on it would "
            f"mean nothing: train it for longer in another --out (--fit.base-steps), or go on with --allow-weak-base"
        )
    if weak:
        print(f"study: the base model does not beat a linear blend ({weak}): read what follows with that in mind")
    return result


def _record(folder: Path, config: Config, found: Sequence[Findings], data: StudyData) -> Recorded:
    rows = [
        Row(f"{findings.test}: {method}", _values(findings, method), {"fourreal.method": method.name})
        for findings in found
        for method in findings.methods
    ]
    datasets = [(uri, f"references_of_{test}") for test, uri in data.tests.items()]
    return record(folder, f"study {config.out.name}", as_document(config), rows, datasets, {"fourreal.job": "study"})


def _values(findings: Findings, method: object) -> dict[str, float]:
    return {
        metric: value.value
        for (row, metric), value in findings.values.items()
        if row == method and value.value is not None
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(Config, run, argv, prog="fourreal study", recipes=RECIPES)


if __name__ == "__main__":
    raise SystemExit(main())
