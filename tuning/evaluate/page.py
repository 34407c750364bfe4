"""The report as one HTML file that opens anywhere, without a network: first what a clinician asks, then the rest."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from tuning.evaluate.fairness import EVERYBODY, Estimate, GroupFigures, PairedTests
from tuning.evaluate.reading import ENOUGH

_STYLE = """
:root{--ink:#1d2329;--soft:#5b6570;--line:#dfe3e7;--good:#1b7a4b;--bad:#b3261e;--open:#7a5b00}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,"Segoe UI",sans-serif;color:var(--ink);background:#fff;margin:0}
main{max-width:66rem;margin:0 auto;padding:1.6rem 1.2rem 4rem}
h1{font-size:1.05rem;font-weight:600;color:var(--soft);margin:0 0 .8rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.6rem 0 .4rem}
p{margin:.3rem 0 .7rem;max-width:46rem}
p.soft{color:var(--soft);font-size:.9rem;margin:.1rem 0}
.said{font-size:1.55rem;line-height:1.3;font-weight:600;margin:.2rem 0 .8rem;max-width:46rem}
.verdict{display:inline-block;border-left:.35rem solid;padding:.35rem .9rem;margin:.2rem 0 .6rem;max-width:46rem}
.verdict b{display:block}
.better{border-color:var(--good)}.worse{border-color:var(--bad)}.open{border-color:var(--open)}
.better b{color:var(--good)}.worse b{color:var(--bad)}.open b{color:var(--open)}
img{max-width:100%;display:block;margin:.5rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:.28rem .7rem .28rem 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
td{vertical-align:top;line-height:1.25}
td .soft{color:var(--soft);font-size:.78rem}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
tr.kind td{padding-top:.9rem;font-weight:600;border:0}
.few td{color:var(--soft)}
.lost{color:var(--bad);font-weight:600}
.pairs{display:grid;grid-template-columns:1fr 1fr;gap:.6rem}
.pairs figure{margin:0}
figcaption{font-size:.85rem;color:var(--soft)}
@media print{h2{break-after:avoid}img,tr{break-inside:avoid}}
@media(max-width:40rem){.said{font-size:1.25rem}.pairs{grid-template-columns:1fr}}
"""


class Pair(BaseModel):
    """One picture before and after, as JPEG; before is empty where there is no model to compare with."""

    model_config = ConfigDict(extra="forbid")

    caption: str
    before: bytes = b""
    after: bytes


class Report(BaseModel):
    """Everything the page shows. sentence, verdict, why: the first screen; tone: better, worse or open."""

    model_config = ConfigDict(extra="forbid")

    model: str
    against: str | None
    data: str
    images: int
    people: int
    scenes: int
    simulated: bool
    sentence: str
    verdict: str
    why: str
    tone: str
    figures: dict[str, tuple[float | None, float | None]] = Field(title="By name: before, after")
    tests: list[PairedTests]
    groups: list[GroupFigures]
    notes: list[str] = Field(default_factory=list)


def page(report: Report, first: str, drawings: Mapping[str, str], pairs: Sequence[Pair]) -> str:
    """The HTML. first: the first screen's figure as SVG; drawings: further ones by heading."""
    title = f"{report.model}" + (f" against {report.against}" if report.against else "")
    measures = list(dict.fromkeys(measure for row in report.groups for measure in row.after))
    parts = [
        f"<h1>{_e(title)}: {report.images} pictures, {report.people} people, {report.scenes} scenes of "
        f"{_e(report.data)}</h1>",
        f'<p class="said">{_e(report.sentence)}</p>',
        f'<div class="verdict {_e(report.tone)}"><b>{_e(report.verdict)}</b>{_e(report.why)}</div>',
        *(f'<p class="soft">{_e(note)}</p>' for note in report.notes),
        _image(first, "How well groups of people are served"),
        "<h2>The figures</h2>", _figures(report),
        "<h2>Is it chance?</h2>", *(_tests(tests) for tests in report.tests),
        "<h2>Who gains, who loses</h2>",
        "<p>Every line is a mean with the interval that holds it 95 times in 100, drawn over whole scenes, because "
        "people in one scene stand or fall together. Lines in grey stand on fewer than "
        f"{ENOUGH} people and say little. p is Wilcoxon’s of the scenes’ mean changes; Holm’s counts all lines "
        "together.</p>",
        _groups(report.groups, measures),
        *(f"<h2>{_e(heading)}</h2>{_image(svg, heading)}" for heading, svg in drawings.items()),
        _pairs(report, pairs),
    ]  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{_e(title)}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _figures(report: Report) -> str:
    both = report.against is not None
    head = (f"<th>{_e(report.against or '')}</th>" if both else "") + f"<th>{_e(report.model)}</th>"
    rows = "".join(
        f"<tr><td>{_e(name)}</td>{f'<td>{_number(before)}</td>' if both else ''}<td>{_number(after)}</td></tr>"
        for name, (before, after) in report.figures.items()
    )
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _tests(found: PairedTests) -> str:
    low, high, p = found.by_scenes
    rows = [
        ("scenes as clusters (the gate’s own)", low, high, f"p = {_p(p)}"),
        ("bootstrap over scenes", *found.bootstrap, ""),
        ("paired t-test, people by themselves", *found.paired_t[:2], f"t = {found.paired_t[2]:.2f}, p = "
         f"{_p(found.paired_t[3])}"),
    ]  # fmt: skip
    body = "".join(
        f"<tr><td>{_e(name)}</td><td>{low:+.3f} to {high:+.3f}</td><td>{_e(said)}</td></tr>"
        for name, low, high, said in rows
    )
    ranks, p_ranks = found.wilcoxon
    by_ranks = "Wilcoxon’s signed ranks, people by themselves"
    body += f"<tr><td>{by_ranks}</td><td></td><td>T = {ranks:g}, p = {_p(p_ranks)}</td></tr>"
    return (
        f"<p>{_e(found.measure.capitalize())} of the same {found.people} people: {found.before:.3f} before, "
        f"{found.after:.3f} after, a mean change of {found.difference:+.3f}; {found.better} better, {found.worse} "
        "worse, the others as before.</p>"
        f'<div class="scroll"><table><thead><tr><th>test</th><th>95 % interval of the change</th><th></th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _groups(rows: Sequence[GroupFigures], measures: Sequence[str]) -> str:
    both = any(row.before for row in rows)
    head = "".join(
        (f"<th>{_e(m)}<br>before</th><th>{_e(m)}<br>after</th>" if both else f"<th>{_e(m)}</th>") for m in measures
    )
    head += "<th>change of<br>the first</th><th>p</th><th>Holm’s p</th>" if both else ""
    columns = 3 + len(measures) * (2 if both else 1) + (3 if both else 0)
    body, last = [], ""
    for row in rows:
        if row.kind not in (last, EVERYBODY):
            body.append(f'<tr class="kind"><td colspan="{columns}">{_e(row.kind)}</td></tr>')
        last = row.kind
        cells = "".join(
            (f"<td>{_estimate(row.before.get(m))}</td>" if both else "") + f"<td>{_estimate(row.after.get(m))}</td>"
            for m in measures
        )
        if both:
            lost = row.holm is not None and row.holm < 0.05 and row.change is not None and row.change.mean < 0
            cells += f'<td class="{"lost" if lost else ""}">{_estimate(row.change, signed=True)}</td>'
            cells += f"<td>{_p(row.p)}</td><td>{_p(row.holm)}</td>"
        few = ' class="few"' if row.people < ENOUGH else ""
        body.append(f"<tr{few}><td>{_e(row.group)}</td><td>{row.people}</td><td>{row.scenes}</td>{cells}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th></th><th>people</th><th>scenes</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _pairs(report: Report, pairs: Sequence[Pair]) -> str:
    if not pairs:
        return ""
    shown = "".join(
        (f"<figure>{_jpeg(pair.before, f'before: {pair.caption}')}<figcaption>{_e(report.against or '')}: "
         f"{_e(pair.caption)}</figcaption></figure>" if pair.before else "")
        + f"<figure>{_jpeg(pair.after, f'after: {pair.caption}')}<figcaption>{_e(report.model)}</figcaption></figure>"
        for pair in pairs
    )  # fmt: skip
    return (
        "<h2>Before and after, where they differ most</h2><p>White: where people are. Coloured: where the model says "
        f'they are, with how sure it is.</p><div class="pairs">{shown}</div>'
    )


def _estimate(found: Estimate | None, *, signed: bool = False) -> str:
    if found is None:
        return ""
    mean = f"{found.mean:+.3f}" if signed else f"{found.mean:.3f}"
    if found.low is None or found.high is None:
        return mean
    between = f"{found.low:+.2f} to {found.high:+.2f}" if signed else f"{found.low:.2f}–{found.high:.2f}"
    return f'{mean}<br><span class="soft">{between}</span>'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _p(p: float | None) -> str:
    return "" if p is None else "<0.0001" if p < 1e-4 else f"{p:.2g}"


def _image(svg: str, alt: str) -> str:
    return f'<img alt="{_e(alt)}" src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}">'


def _jpeg(content: bytes, alt: str) -> str:
    return f'<img alt="{_e(alt)}" src="data:image/jpeg;base64,{base64.b64encode(content).decode()}">'


def _e(text: str) -> str:
    return html.escape(text)
