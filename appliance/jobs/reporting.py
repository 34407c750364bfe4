"""The report of an evaluation: every group of people with its interval, and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.models.store import ModelStore
from appliance.models.use import exported, score, score_pose
from appliance.site.folder import SiteFolder
from calibration.atomic import write_text
from calibration.errors import WardposeError
from calibration.progress import Progress

if TYPE_CHECKING:
    from tuning.coco_folder import Picture
    from tuning.evaluate.keypoints import KeypointFigures
    from tuning.evaluate.page import Pair, Report
    from tuning.evaluate.report import Evaluation

MOST_PAIRS = 6
FEATURE_PICTURES = 200  # of each set, as in the paper's figure 9
_PICTURE_WIDTH = 640
_FALSE = "false people a picture"


def opponent_of(site: SiteFolder, name: str, wished: str | None) -> str | None:
    """The model that `name` is held against: the one wished for, else the one it was tuned from, else the live one."""
    store = ModelStore(site)
    card = store.card(name)
    if wished:
        if store.card(wished).task != card.task:
            raise WardposeError(f"{wished} is for another task than {name}", mend="see `wardpose models list`")
        return None if wished == name else wished
    for known in filter(None, (card.parent, store.live(card.task))):
        try:
            if known != name and store.card(known).task == card.task:
                return known
        except WardposeError:  # it was removed since
            continue
    return None


def report(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The figures of every group for JSON; with `report` in the parameters the page is written there too.

    Parameters: model, data, images, keypoints, pose, boxes, against, report (file), pictures (draw before and after
    though the pictures are of real people), features (an ONNX network whose features place the pictures).
    """
    from tuning.coco_folder import read_people
    from tuning.evaluate.page import page

    name = str(parameters["model"])
    data, images = Path(parameters["data"]), Path(parameters["images"]) if parameters.get("images") else None
    people = read_people(data, images)
    against = opponent_of(site, name, parameters.get("against"))
    shown = {model: _scored(site, model, parameters, progress) for model in filter(None, (name, against))}
    built = _built(name, against, data, people, shown)
    answer: dict[str, Any] = {"report": built.model_dump(mode="json")}
    if parameters.get("report"):
        out = Path(parameters["report"])
        progress(0, 3, "drawing")
        drawings = _drawings(site, name, against, people, shown, parameters, progress)
        pairs: Sequence[Pair] = []
        if built.simulated or parameters.get("pictures"):
            pairs = _pairs(site, name, against, people, shown)
        else:
            built.notes.append("Pictures of real people are left out; --pictures puts some in.")
        first = drawings.pop("")
        write_text(out, page(built, first, drawings, pairs))
        progress(3, 3, "written")
        answer["file"] = str(out)
    return answer


def _scored(
    site: SiteFolder, name: str, parameters: Mapping[str, Any], progress: Progress
) -> Evaluation | KeypointFigures:
    store, data, images = ModelStore(site), Path(parameters["data"]), parameters.get("images")
    if store.card(name).task == "pose":
        return score_pose(site, name, data, images, progress)
    pose = str(parameters.get("pose") or store.live("pose")) if parameters.get("keypoints") else None
    return score(site, name, data, images, progress, pose=pose, boxes=str(parameters.get("boxes") or "detected"))


def _measures(found: Evaluation | KeypointFigures) -> dict[str, dict[int, float]]:
    """Each person's scores by measure, the one that is tested first."""
    from tuning.evaluate.reading import FOUND, JOINTS
    from tuning.evaluate.report import Evaluation

    if not isinstance(found, Evaluation):
        return {JOINTS: found.seen}
    joints = {JOINTS: found.keypoints.seen} if found.keypoints is not None and found.keypoints.seen else {}
    return {"person score": found.scores, FOUND: found.covered} | joints


def _built(
    name: str, against: str | None, data: Path, people: Sequence[Picture],
    shown: Mapping[str, Evaluation | KeypointFigures],
) -> Report:  # fmt: skip
    from tuning.coco_folder import scenes_of
    from tuning.evaluate.fairness import group_table, paired_tests
    from tuning.evaluate.groups import brightness, people_groups, thin_groups
    from tuning.evaluate.page import Report
    from tuning.evaluate.reading import ENOUGH, FOUND, sentence, verdict
    from tuning.gate.settings import GateSettings

    scenes, after = scenes_of(people), _measures(shown[name])
    first = next(iter(after))
    if not after[first]:
        raise WardposeError("nobody is in these pictures", where=str(data), mend="give pictures with people")
    before = None if against is None else _measures(shown[against])
    who = people_groups(people, brightness(people))
    groups = group_table(who, after, scenes, before)
    tests = [] if before is None else [paired_tests(m, before[m], after[m], scenes) for m in after if m in before]
    figures, cm = _figures(shown.get(against or ""), shown[name])
    false_people = figures.get(_FALSE, (None, None))
    told, why, tone = verdict(
        tests[0] if tests else None, groups, FOUND if FOUND in after else first, false_people,
        GateSettings().allowed_alarms,
    )  # fmt: skip
    simulated = all(picture.drawn for picture in people)
    notes = ["It is no alarm and no medical device."]
    if simulated:
        notes.insert(0, "The pictures are simulated: how well real patients are seen they do not show.")
    if few := "; ".join(f"{kind} {', '.join(names)}" for kind, names in thin_groups(who, ENOUGH).items()):
        notes.append(f"Fewer than {ENOUGH} people, too few to judge: {few}.")
    shown_as = data.parent.name if data.name == "annotations.json" else f"{data.parent.name}/{data.name}"
    return Report(
        model=name, against=against, data=shown_as, images=len(people), people=len(after[first]),
        scenes=len(set(scenes.values())), simulated=simulated,
        sentence=sentence(name, against, groups[0], cm, false_people), verdict=told, why=why, tone=tone,
        figures=figures, tests=tests, groups=groups, notes=notes,
    )  # fmt: skip


def _figures(
    before: Evaluation | KeypointFigures | None, after: Evaluation | KeypointFigures
) -> tuple[dict[str, tuple[float | None, float | None]], tuple[float | None, float | None]]:
    """The figures of the table, before and after, and the joints' error in cm."""
    from tuning.evaluate.report import Evaluation

    def values(found: Evaluation | KeypointFigures | None) -> dict[str, float | None]:
        if found is None:
            return {}
        told: dict[str, float | None] = {}
        joints = found.keypoints if isinstance(found, Evaluation) else found
        if isinstance(found, Evaluation):
            told |= {
                "AP (boxes, IoU 0.50 to 0.95)": found.AP, "AP50 (boxes)": found.AP50, "AR (boxes)": found.AR,
                "person score": found.person_score, "people found, share": found.found,
                "people missed a picture": found.misses, _FALSE: found.false_people,
            }  # fmt: skip
        if joints is not None:
            told |= {
                "AP (joints, OKS 0.50 to 0.95)": joints.AP, "AP50 (joints)": joints.AP50, "AR (joints)": joints.AR,
                "similarity of labelled joints (OKS)": joints.mean_oks,
                "similarity of visible joints (OKS)": joints.mean_oks_visible,
                "AP (visible joints alone)": joints.AP_visible,
                "confidence of joints, mean error": joints.confidence_error,
                "median error of a visible joint, cm": joints.error_cm,
                "visible joints within 10 cm, share": joints.within_10_cm,
            }  # fmt: skip
        return told

    first, last = values(before), values(after)
    figures: dict[str, tuple[float | None, float | None]] = {
        name: (first.get(name), value) for name, value in last.items() if value is not None
    }
    error = "median error of a visible joint, cm"
    return figures, (first.get(error), last.get(error))


def _drawings(
    site: SiteFolder, name: str, against: str | None, people: Sequence[Picture],
    shown: Mapping[str, Evaluation | KeypointFigures], parameters: Mapping[str, Any], progress: Progress,
) -> dict[str, str]:  # fmt: skip
    """SVG by heading; the first screen's under an empty one."""
    from tuning.coco_folder import scenes_of
    from tuning.evaluate.fairness import EVERYBODY, group_table
    from tuning.evaluate.groups import brightness, people_groups
    from tuning.evaluate.plots import curves_figure, densities_figure, groups_figure
    from tuning.evaluate.reading import ENOUGH, FOUND
    from tuning.evaluate.report import Evaluation

    both = [model for model in (against, name) if model]
    found = {model: shown[model] for model in both}
    measures = {model: _measures(one) for model, one in found.items()}
    groups = people_groups(people, brightness(people))
    before = measures[against] if against else None
    table = group_table(groups, measures[name], scenes_of(people), before)
    led = FOUND if FOUND in measures[name] else next(iter(measures[name]))
    title = "share of people found" if led == FOUND else "similarity of visible joints"
    several = {kind for kind in groups if len(groups[kind]) > 1} | {EVERYBODY}
    rows = [row for row in table if row.kind in several]
    short = [row for row in rows if row.kind == EVERYBODY or row.people >= ENOUGH]
    drawings = {
        "": groups_figure(short, led, title, (against or "", name)),
        "Every group": groups_figure(rows, led, title, (against or "", name)),
    }
    curves = {model: one for model, one in found.items() if isinstance(one, Evaluation) and one.precision50}
    if curves:
        drawings["Precision and recall"] = curves_figure({
            f"{share} %": {model: getattr(one, f"precision{share}") for model, one in curves.items()}
            for share in (50, 75)
        })  # fmt: skip
    spread = {
        m: {model: list(measures[model].get(m, {}).values()) for model in both} for m in measures[name] if m != FOUND
    }
    centimetres = {model: list(cm.values()) for model, one in found.items() if (cm := _cm(one))}
    if centimetres:
        spread["mean error of a person's joints, cm"] = centimetres
    drawings["How the scores are spread"] = densities_figure(spread)
    progress(1, 3, "features")
    drawings["How alike the pictures are to those it was trained on"] = _features(site, name, people, parameters)
    return {heading: svg for heading, svg in drawings.items() if svg}


def _cm(found: Evaluation | KeypointFigures) -> dict[int, float]:
    from tuning.evaluate.report import Evaluation

    joints = found.keypoints if isinstance(found, Evaluation) else found
    return joints.cm if joints is not None else {}


def _features(site: SiteFolder, name: str, people: Sequence[Picture], parameters: Mapping[str, Any]) -> str:
    """The scored pictures and, where they are still here, those that the model was tuned on, by a network's features:
    a named one's (VGG16's, as in the paper, where the site has it), else the detector's own."""
    import numpy as np

    from runtime.capture.photograph import read_photograph
    from synth.features import neighbour_map, picture_features, principal_components
    from tuning.coco_folder import read_people
    from tuning.evaluate.plots import features_figure

    store = ModelStore(site)
    detector = name if store.card(name).task == "detect" else store.live("detect")
    network = Path(parameters["features"]) if parameters.get("features") else exported(site, detector)
    trained = site.datasets / str(store.card(name).made.get("data") or "-") / "annotations.json"
    sets = [("trained on", read_people(trained) if trained.is_file() else []), ("scored on", list(people))]
    sets = [
        (label, pictures[:: max(1, len(pictures) // FEATURE_PICTURES)][:FEATURE_PICTURES]) for label, pictures in sets
    ]
    shown = [(index, picture) for index, (_, pictures) in enumerate(sets) for picture in pictures]
    if len(shown) < 4:  # fewer make no map
        return ""
    features = picture_features(network, (read_photograph(picture.path) for _, picture in shown))
    components, shares = principal_components(features)
    told = network.stem if parameters.get("features") else detector
    return features_figure(
        [label for label, _ in sets], np.array([index for index, _ in shown]), components, shares,
        neighbour_map(features), told,
    )  # fmt: skip


def _pairs(
    site: SiteFolder, name: str, against: str | None, people: Sequence[Picture],
    shown: Mapping[str, Evaluation | KeypointFigures],
) -> list[Pair]:  # fmt: skip
    """The pictures whose people's scores changed most, the best gains first, then the worst losses."""
    from runtime.capture.photograph import read_photograph
    from tuning.evaluate.page import Pair

    after = next(iter(_measures(shown[name]).values()))
    before = next(iter(_measures(shown[against]).values())) if against else dict.fromkeys(after, 0.0)
    change = {picture.id: sum(after[i] - before[i] for i in picture.ids.tolist() if i in after) for picture in people}
    order = sorted((picture for picture in people if len(picture.ids)), key=lambda picture: -change[picture.id])
    chosen = order if len(order) <= MOST_PAIRS else order[: MOST_PAIRS - 2] + order[-2:]
    draw = {model: _drawer(site, model) for model in filter(None, (against, name))}
    found = []
    for picture in chosen:
        color = read_photograph(picture.path)
        caption = f"{picture.path.name} (people's scores {change[picture.id]:+.2f})" if against else picture.path.name
        drawn = {model: work(color, picture) for model, work in draw.items()}
        found.append(Pair(caption=caption, before=drawn.get(against or "", b""), after=drawn[name]))
    return found


def _drawer(site: SiteFolder, name: str) -> Any:
    """What draws a model's answer on a picture, as the live path would show a first frame; returns JPEG."""
    import cv2
    import numpy as np

    from runtime.detect import PersonDetector
    from runtime.detections import Detections
    from runtime.engines.engine import open_engine
    from runtime.overlay import draw_skeletons
    from runtime.pose import PoseEstimator
    from runtime.skeleton import Skeletons

    engine, task = open_engine(exported(site, name)), ModelStore(site).card(name).task
    detector = PersonDetector(engine) if task == "detect" else None
    pose = PoseEstimator(engine) if task == "pose" else None

    def draw(color: Any, picture: Picture) -> bytes:
        if detector is not None:
            people, skeletons = detector.detect(color), Skeletons.empty()
        else:
            people = Detections(picture.boxes.astype(np.float32), np.ones(len(picture.ids), np.float32))
            skeletons = pose.estimate(color, people) if pose is not None and len(people) else Skeletons.empty()
        drawn = np.ascontiguousarray(
            draw_skeletons(color, skeletons, Detections.empty() if pose else people)[..., ::-1]
        )
        for (x1, y1, x2, y2), sure in zip(people.xyxy.round().astype(int).tolist(), people.score, strict=True):
            if detector is not None:
                cv2.rectangle(drawn, (x1, y1), (x2, y2), (40, 190, 255), 2)
                cv2.putText(drawn, f"{sure:.0%}", (x1 + 4, max(y1 + 18, 18)), cv2.FONT_HERSHEY_SIMPLEX, 0.55,
                            (40, 190, 255), 2, cv2.LINE_AA)  # fmt: skip
        for x1, y1, x2, y2 in picture.boxes.round().astype(int).tolist():
            cv2.rectangle(drawn, (x1, y1), (x2, y2), (255, 255, 255), 1)
        scale = min(1.0, _PICTURE_WIDTH / drawn.shape[1])
        small = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else drawn
        ok, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 88])
        if not ok:
            raise WardposeError("the picture could not be encoded", where=picture.path.name)
        return data.tobytes()

    return draw
