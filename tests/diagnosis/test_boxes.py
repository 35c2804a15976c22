"""Found boxes: true boxes become examples, images clusters; planted faults are told; what is shown; what is refused."""

import json

import numpy as np
import pytest

from disobey.cli.main import main
from disobey.diagnosis.diagnose import diagnose
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.boxes import detections
from disobey.diagnosis.input.join import read_pair, read_two, with_twin
from disobey.diagnosis.input.pair import pair_from
from disobey.measures.detection import average_precision
from disobey.records.results import Finding, Gallery, Table
from tests.support.refusals import refuses

IMAGES, CLASSES = 60, 3
NAMES = ["cat", "<b>dog", "cup"]
IDS = [5, 9, 2]  # of the categories


def annotations(seed=0):
    rng = np.random.default_rng(seed)
    objects = [
        {"image_id": 100 + image, "category_id": IDS[rng.integers(CLASSES)]}
        | {"bbox": [int(v) for v in (*rng.integers(0, 60, 2), *rng.integers(8, 30, 2))]}
        for image in range(IMAGES)
        for _ in range(rng.integers(1, 5))
    ]
    images = [{"id": 100 + i, "file_name": f"{i}.png", "width": 96, "height": 90} for i in range(IMAGES)]
    categories = [{"id": id, "name": name} for id, name in zip(IDS, NAMES, strict=True)]
    return {"images": images, "categories": categories, "annotations": objects}


def found(known, seed, skill=1.5, swap=None, smallest=0):
    rng = np.random.default_rng(seed)
    boxes = []
    for one in known["annotations"]:
        level, wrong = skill + rng.normal(), rng.random() < 0.1
        category = IDS[rng.integers(CLASSES)] if wrong else one["category_id"]
        if level > -0.5 and np.prod(one["bbox"][2:]) >= smallest:
            box = np.array(one["bbox"]) + rng.normal(0, 0.7, 4)
            boxes.append(box_of(one["image_id"], (swap or {}).get(category, category), box, 1 / (1 + np.exp(-level))))
    extra = range(0, IMAGES, 3)
    return boxes + [box_of(100 + i, IDS[0], rng.uniform(5, 40, 4), rng.uniform(0.1, 0.7)) for i in extra]


def box_of(image, category, box, score):
    return {"image_id": image, "category_id": category, "bbox": [float(v) for v in box], "score": float(score)}


@pytest.fixture
def files(tmp_path):
    known = annotations()
    for name, content in {
        "labels": known,
        "teacher": found(known, 1, 2.0),
        "student": found(known, 2),
        "twin": found(known, 3, 1.2),
    }.items():
        save(tmp_path / f"{name}.json", content)
    return tmp_path


def save(path, content):
    path.write_text(json.dumps(content))
    return path


def read(files, student="student.json", **how):
    return read_pair(files / "teacher.json", files / student, labels=files / "labels.json", **how)


def table(result, title):
    return next(block for block in result.blocks if isinstance(block, Table) and block.title == title)


def findings(result):
    return {block.id: block for block in result.blocks if isinstance(block, Finding)}


def test_true_boxes_are_examples_and_images_clusters(files):
    pair = read(files)
    known = annotations()["annotations"]
    assert pair.shape == (len(known), CLASSES + 1)
    assert pair.class_names == ("nothing", *NAMES)
    assert pair.labels.tolist() == [1 + IDS.index(one["category_id"]) for one in known]
    assert pair.cluster.tolist() == [one["image_id"] - 100 for one in known]
    assert set(pair.groups) == {"free", "crowded"}
    assert pair.ids[0] == "0.png box 0"
    same = read_two(files / "teacher.json", files / "student.json", files / "labels.json")
    assert np.array_equal(same.ids, pair.ids)


def test_the_table_holds_the_average_precision_and_paired_differences(files):
    pair = with_twin(read(files), files / "twin.json")
    result = diagnose(pair)
    shown = table(result, "Detection")
    assert [row[0] for row in shown.rows] == [
        "teacher",
        "student",
        "control (twin)",
        "student − teacher",
        "student − control (twin)",
    ]
    known = pair.facts["boxes"]
    values = {row[0]: row[1] for row in shown.rows}
    for who, name in (("teacher", "teacher"), ("student", "student"), ("control (twin)", "twin")):
        assert values[who].value == pytest.approx(average_precision(known.truth, known.found[name]), abs=1e-9)
        assert (values[who].n, values[who].over) == (IMAGES, "clusters")
        assert values[who].low < values[who].value < values[who].high
    assert values["student − teacher"].value == pytest.approx(values["student"].value - values["teacher"].value)
    missed = {row[0]: row[shown.columns.index("missed")].value for row in shown.rows}
    assert missed["student"] == pytest.approx((gather(pair).sample.student.argmax(axis=1) == 0).mean())
    assert missed["student − teacher"] == pytest.approx(missed["student"] - missed["teacher"])
    assert "duplicated-rows" not in findings(result)
    assert "temperature-slip" not in findings(result)
    assert all(not title.startswith("Calibration") for title in titles(result))


def titles(result):
    return [getattr(block, "title", "") for block in result.blocks]


def test_a_swapped_class_and_exchanged_images_are_told(files):
    known = annotations()
    save(files / "swapped.json", found(known, 2, swap={5: 9, 9: 5}))
    told = findings(diagnose(read(files, "swapped.json")))
    assert told["class-order"].status == "warning"
    assert "<b>dog" in told["class-order"].message
    order = np.random.default_rng(0).permutation(IMAGES)
    exchanged = [one | {"image_id": 100 + int(order[one["image_id"] - 100])} for one in found(known, 2)]
    save(files / "exchanged.json", exchanged)
    told = findings(diagnose(read(files, "exchanged.json")))
    assert told["placed-boxes"].invalidates
    assert "not-judged" in told
    assert not {"row-alignment", "capacity-gap"} & told.keys()
    assert findings(diagnose(read(files)))["placed-boxes"].status == "ok"
    save(files / "empty.json", [])
    assert findings(diagnose(read(files, "empty.json")))["placed-boxes"].status == "warning"


def test_a_copy_and_missed_small_boxes_are_told(files):
    told = findings(diagnose(read(files, "teacher.json")))
    assert told["identical-models"].status == "warning"
    save(files / "small.json", found(annotations(), 2, smallest=250))
    shown = table(diagnose(read(files, "small.json")), "By size")
    assert [row[0].split(" ")[0] for row in sorted(shown.rows, key=lambda row: row[0])] == ["beyond", "up", "up"]
    accuracy = {row[0]: row[shown.columns.index("student accuracy")].value for row in shown.rows}
    assert min(accuracy, key=accuracy.get) == next(name for name in accuracy if name.endswith("pixels"))


def test_crowds_are_neither_found_nor_missed(files):
    known = annotations()
    known["annotations"].append({"image_id": 100, "category_id": 5, "bbox": [0, 0, 95, 89], "iscrowd": 1})
    save(files / "labels.json", known)
    pair = read(files)
    assert pair.shape[0] == len(known["annotations"]) - 1
    assert "1 crowds" in table(diagnose(pair), "Detection").caption


def test_pictures_of_what_differs(files):
    Image = pytest.importorskip("PIL.Image")
    empty = gallery(diagnose(read(files)))
    assert "canvas is empty" in empty.caption
    (files / "images").mkdir()
    for number in range(IMAGES):
        Image.fromarray(np.full((45, 48, 3), number * 3, np.uint8)).save(files / "images" / f"{number}.png")
    shown = gallery(diagnose(read(files)))
    assert "canvas" not in shown.caption
    assert len(shown.exhibits) == 4
    assert np.array(shown.exhibits[0].image).shape == (4 * 45, 2 * 4 * 48 + 2, 3)
    assert np.array(empty.exhibits[0].image).shape == (2 * 90, 2 * 2 * 96 + 2, 3)
    assert any(line.startswith("true ") for one in shown.exhibits for line in one.lines)


def gallery(result):
    return next(block for block in result.blocks if isinstance(block, Gallery) and "different boxes" in block.title)


def test_the_command_and_several_seeds(files, capsys):
    for number in (1, 2):
        save(files / f"student-{number}.json", found(annotations(), 10 + number))
        save(files / f"twin-{number}.json", found(annotations(), 20 + number, 1.2))
    inputs = ["--teacher", files / "teacher.json", "--student", files / "student-*.json"]
    inputs += ["--twin", files / "twin-*.json", "--labels", files / "labels.json", "--out", files / "out"]
    assert main(["diagnose", *map(str, inputs)]) == 0
    report = (files / "out" / "report.html").read_text()
    assert "<b>dog" not in report
    assert "student-2 − teacher" in report
    assert "student-2 − control (twin) twin-2" in report
    provenance = json.loads((files / "out" / "provenance.json").read_text())
    assert len(provenance["inputs"]) == 6
    pair = read_pair(
        files / "teacher.json", files / "student-1.json", files / "student-2.json", labels=files / "labels.json"
    )
    assert list(pair.students) == ["student/student-1", "student/student-2"]


def padded(files):
    """The same boxes as arrays."""
    pair = read(files)
    known = pair.facts["boxes"]
    arrays = {"labels": np.full((IMAGES, 6, 5), -1.0)}
    for row in range(IMAGES):
        own = known.truth.take(np.flatnonzero(known.truth.images == row))
        arrays["labels"][row, : len(own)] = np.concatenate([own.boxes, own.classes[:, None]], axis=1)
    for name, boxes in known.found.items():
        arrays[f"{name}_boxes"], arrays[f"{name}_scores"] = np.zeros((IMAGES, 9, 4)), np.zeros((IMAGES, 9, CLASSES))
        for row in range(IMAGES):
            own = boxes.take(np.flatnonzero(boxes.images == row))
            arrays[f"{name}_boxes"][row, : len(own)] = own.boxes
            arrays[f"{name}_scores"][row, np.arange(len(own)), own.classes - 1] = own.scores
    return pair, arrays


def test_padded_arrays_say_the_same(files):
    pair, arrays = padded(files)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 90, 96), dtype=np.uint8)
    np.savez(files / "pair.npz", **arrays, class_names=np.array(NAMES), images=images, groups=np.arange(IMAGES) % 2)
    other = read_pair(files / "pair.npz")
    assert other.class_names == pair.class_names
    for name in ("labels", "cluster"):
        assert np.array_equal(getattr(other, name), getattr(pair, name))
    assert np.array_equal(other.groups, pair.cluster % 2)
    first, second = gather(pair).sample, gather(other).sample
    assert np.allclose(first.teacher, second.teacher, atol=1e-5)
    assert np.allclose(first.student, second.student, atol=1e-5)
    values = [[row[1].value for row in table(diagnose(one), "Detection").rows] for one in (pair, other)]
    assert np.allclose(*values)
    assert "canvas" not in gallery(diagnose(other)).caption


def test_scores_of_all_classes_are_read_as_such(files):
    known = annotations()
    boxes = found(known, 2)
    for one in boxes:
        one["scores"] = [one["score"] if id == one["category_id"] else 0.05 for id in IDS]
    save(files / "full.json", boxes)
    plain, full = (gather(read(files, name)).sample.student for name in ("student.json", "full.json"))
    seen = np.exp(plain).max(axis=1) < 0.99
    assert (np.exp(full[seen]) > np.exp(plain[seen]) - 1e-6).sum() > seen.sum()
    assert np.exp(full[seen]).min() > 0.01


@pytest.mark.parametrize(
    ("change", "id"),
    [
        ({"bbox": [1, 2, "x", 4]}, "found-boxes"),
        ({"bbox": [1, 2, float("nan"), 4]}, "found-boxes"),
        ({"bbox": [1, 2, 3]}, "found-boxes"),
        ({"bbox": [5, 5, -1, 4]}, "found-boxes"),
        ({"score": 1.2}, "found-scores"),
        ({"score": float("nan")}, "found-scores"),
        ({"score": "0.5"}, "found-scores"),
        ({"scores": [0.1, 0.2]}, "found-scores"),
        ({"scores": [0.1, 0.2, 7]}, "found-scores"),
        ({"image_id": 7}, "unknown-images"),
        ({"category_id": 0}, "unknown-categories"),
        ({"image_id": "x"}, "not-results"),
        ({"image_id": 1.5}, "not-results"),
    ],
)
def test_boxes_that_cannot_be_are_refused(files, change, id):
    boxes = found(annotations(), 2)
    save(files / "bad.json", [*boxes[:-1], boxes[-1] | change])
    with refuses(id):
        read(files, "bad.json")


@pytest.mark.parametrize("lengths", [(3, 3, 1, 5), (1, 5), (0, 6), (6, 0)])
def test_scores_of_unequal_length_are_refused_although_their_sum_fits(files, lengths):
    boxes = found(annotations(), 2)[: len(lengths)]
    save(files / "bad.json", [one | {"scores": [0.1] * n} for one, n in zip(boxes, lengths, strict=True)])
    with refuses("found-scores"):
        read(files, "bad.json")


def test_files_that_do_not_belong_together_are_refused(files):
    with refuses("missing-annotations"):
        read_pair(files / "teacher.json", files / "student.json")
    with refuses("missing-student"):
        read_pair(files / "teacher.json", labels=files / "labels.json")
    with refuses("not-results"):
        read(files, "labels.json")
    with refuses("not-coco"):
        read_pair(files / "teacher.json", files / "student.json", labels=files / "student.json")
    with refuses("no-file"):
        read(files, "none.json")
    with refuses("no-file"):
        read_pair(files / "teacher.json", files / "student.json", labels=files / "none.json")
    with refuses("cluster-beside-boxes"):
        read(files, cluster=files / "labels.json")
    save(files / "far.json", [one | {"image_id": one["image_id"] + 1000} for one in found(annotations(), 2)])
    with refuses("no-common-images"):
        read(files, "far.json")
    save(files / "labels.json", annotations() | {"annotations": []})
    with refuses("no-examples"):
        read(files)
    for text in ("", "3", "[[]]", "[3]", "{}", "[" * 5_000, '[{"a": {"image_id": 1}}]'):
        (files / "odd.json").write_text(text)
        with pytest.raises(ValueError, match="odd.json"):
            detections(files / "odd.json", [files / "student.json"], files / "labels.json")


def test_arrays_that_do_not_fit_are_refused(files):
    _, arrays = padded(files)
    scores, labels = arrays["student_scores"], arrays["labels"]
    for change, id in (
        ({"labels": labels[..., 4]}, "box-labels"),
        ({"labels": np.where(labels == 1, 9, labels)}, "box-labels"),
        ({"student_scores": scores[..., :2]}, "box-shapes"),
        ({"student_scores": scores + 1}, "found-scores"),
        ({"student_boxes": -arrays["student_boxes"]}, "found-boxes"),
    ):
        with refuses(id):
            pair_from(arrays | change)


def test_answers_need_no_more_room_than_is_promised(files, monkeypatch):
    monkeypatch.setattr("disobey.bounds.BUDGET", 4_000)
    with refuses("over-budget"):
        read(files)
