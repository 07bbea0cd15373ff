"""Orders, samples, comparisons of models, drift."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flawmap.records import HeldBackCounts
from flawmap.service.comparing import compare_photos
from flawmap.service.drift import LEAST, MOST_FOREIGN, count_foreign, measure
from flawmap.service.ordering import farthest_first
from flawmap.service.sampling import to_rate
from flawmap.service.shapes import SeenPhoto
from flawmap.service.training_drift import LEAST_LATEST, hold_against_training
from flawmap.tools.bundle import Bundle, write_bundle, write_spec
from flawmap.tools.familiarity import HeldBack
from flawmap.tools.likeness import N_AXES
from service_talk import inspect, to_png, to_site


def post(client, path: str, values: dict, status: int = 201) -> dict:
    answer = client.post(path, json=values)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_photos_come_in_the_order_asked_for(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, service = open_service()
    faint = tiny.make_photo(2, 96, (192, 256)).astype(int)
    faint[96:104] = 120  # near the threshold, where the others are far from it
    sites = [to_site(0, None, tiny), to_site(1, 96, tiny), to_png(faint.astype(np.uint8))]
    result = inspect(client, sites)

    def order(name: str) -> list[int]:
        got = client.get(f"/v1/inspections/{result['id']}/queue", params={"order": name}).json()
        return [one["number"] for one in got["photos"]]

    assert order("worst")[0] == 2 and order("worst")[-1] == 1
    assert order("uncertain")[0] == 3
    assert sorted(order("different")) == [1, 2, 3]
    post(client, "/v1/reviews", {"verdict": "checked", "inspection": result["id"], "number": 1})
    assert order("different")[0] == 2 and order("different")[-1] == 1  # what was reviewed comes last
    assert client.get(f"/v1/inspections/{'0' * 32}/queue").status_code == 404
    assert "facts" not in client.get(f"/v1/inspections/{result['id']}/result").text
    with service.database.reading() as session:
        from sqlmodel import select

        from flawmap.service.database import JobPhoto

        facts = session.exec(select(JobPhoto)).first().seen["facts"]
    assert len(facts["features"]) == N_AXES and 200 < facts["brightness"] < 240


def test_the_farthest_comes_first() -> None:
    features = np.array([[0.0], [1.0], [10.0], [9.5]])
    assert [i for i, _ in farthest_first(features, np.array([[0.0]]))] == [2, 1, 3, 0]
    assert [i for i, _ in farthest_first(features, np.zeros((0, 1)))][:2] == [1, 2]
    same = farthest_first(np.zeros((3, 2)), np.zeros((0, 2)))
    assert sorted(i for i, _ in same) == [0, 1, 2]


def test_a_sample_is_drawn_once_and_answered_blindly(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, _ = open_service()
    result = inspect(client, [to_site(i, 96 if i % 2 else None, tiny) for i in range(8)])
    asked = {"inspection": result["id"], "n": 6}
    sample = post(client, "/v1/samples", asked)
    assert sample["seed"] == post(client, "/v1/samples", {**asked, "n": 2})["seed"]
    assert len({one["photo"] for one in sample["photos"]}) == 6
    assert set(sample["photos"][0]) == {"number", "photo", "name", "answer", "reviewer"}
    flawed = {photo["photo"] for photo in result["photos"] if photo["findings"]}
    place = f"/v1/samples/{sample['id']}"
    empty = client.get(f"{place}/estimate").json()
    assert empty["n_answered"] == 0 and empty["recall"]["value"] is None
    wrong = next(one for one in sample["photos"] if one["photo"] in flawed)
    for one in sample["photos"]:
        truth = "flaw" if one["photo"] in flawed and one is not wrong else "good"
        post(client, f"{place}/photos/{one['number']}/answer", {"answer": "unclear"})
        post(client, f"{place}/photos/{one['number']}/answer", {"answer": truth})
    found = client.get(f"{place}/estimate").json()
    n_said = sum(one["photo"] in flawed for one in sample["photos"])
    assert (found["n_answered"], found["n_unclear"], found["n_population"]) == (6, 0, 8)
    assert found["precision"]["value"] == pytest.approx((n_said - 1) / n_said)
    assert found["accuracy"]["value"] == pytest.approx(5 / 6) and not found["accuracy"]["is_reliable"]
    assert any("too few" in note for note in found["notes"])
    assert client.get("/v1/samples", params={"inspection": result["id"]}).json()[0]["id"] == sample["id"]
    assert client.post(f"{place}/photos/99/answer", json={"answer": "flaw"}).status_code == 404
    assert client.post(f"{place}/photos/1/answer", json={"answer": "maybe"}).status_code == 422
    assert client.get("/v1/samples/999/estimate").status_code == 404


def test_rates_have_wilsons_interval() -> None:
    rate = to_rate([True] * 45 + [False] * 5)  # worked out by hand from Wilson's formula
    z, p, n = 1.959964, 0.9, 50
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert rate.low == pytest.approx(middle - half, abs=1e-6)
    assert rate.high == pytest.approx(middle + half, abs=1e-6) and rate.is_reliable


@pytest.fixture
def two_models(tiny: SimpleNamespace, tiny_bundle, tmp_path: Path) -> list[Path]:
    """The tiny model, and one that is not so quick to call something a crack."""
    head = tiny.make_head()
    blind = dataclasses.replace(head, bias=head.bias + np.array([-2.0, 2.0], np.float32))
    other = write_bundle(tmp_path / "blind" / "model", tiny.make_spec(), tiny.make_onnx(blind), blind)
    return [tiny_bundle.folder, other.folder]


def test_models_are_switched_and_compared(
    two_models: list[Path], tiny: SimpleNamespace, tmp_path: Path
) -> None:
    from starlette.testclient import TestClient

    from flawmap.service.app import create_app
    from flawmap.service.options import ServeOptions
    from flawmap.service.running import running_service

    options = ServeOptions(data=tmp_path / "data", n_threads=1)
    with running_service(two_models, options) as service:
        client = TestClient(create_app(service), base_url="http://localhost")
        first, second = (one["name"] for one in client.get("/v1/models").json())
        faint = tiny.make_photo(2, 96, (192, 256)).astype(int)
        faint[96:104] = 70
        sites = [to_site(0, None, tiny), to_site(1, 96, tiny), to_png(faint.astype(np.uint8))]
        result = inspect(client, sites)
        asked = {"inspection": result["id"], "model": second}
        begun = post(client, "/v1/comparisons", asked, 202)
        assert post(client, "/v1/comparisons", asked, 202)["second"]["id"] == begun["second"]["id"]
        assert client.post("/v1/comparisons", json={**asked, "model": first}).status_code == 409
        place = f"/v1/comparisons/{result['id']}/{begun['second']['id']}"
        for _ in range(200):
            found = client.get(place).json()
            if found["n_compared"] == 3:
                break
            time.sleep(0.05)
        assert (found["both_find"], found["first_only"], found["neither_finds"]) == (1, 1, 1)
        assert [one["number"] for one in found["photos"] if one["is_different"]] == [3]
        assert found["photos"][0]["number"] == 3 and found["agreement"]["value"] == pytest.approx(2 / 3)
        assert found["kappa"] == pytest.approx(0.4)  # 2/3 agreed, 4/9 by chance
        assert client.post("/v1/models/none/use").status_code == 404
        assert client.post(f"/v1/models/{second}/use").json()["is_default"]
        assert [one["name"] for one in client.get("/v1/models").json()] == [second, first]
        assert client.get(f"/v1/inspections/{result['id']}").json()["model"] == first
        assert client.get("/v1/audit-log").json()[0]["what"] == "use model"
    with running_service(two_models, options) as service:
        assert service.default_model.name == second


def test_other_photos_are_not_compared() -> None:
    one, other = (
        SeenPhoto(number=1, photo=digest * 64, name="", is_done=True, findings=[], missed=[], checked=None)
        for digest in "ab"
    )
    with pytest.raises(ValueError, match="other photos"):
        compare_photos([one], [other])


def draw_facts(n: int, seed: int, shift: float = 0.0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {
            "flaw_score": float(rng.uniform()),
            "sharpness": float(rng.normal()),
            "brightness": float(rng.normal(120 + 20 * shift, 20)),
            "contrast": float(rng.normal(40, 5)),
            "features": (rng.normal(size=N_AXES) + shift).tolist(),
        }
        for _ in range(n)
    ]


def test_drift_is_told_from_chance() -> None:
    alarms = sum(
        any(one.is_alarm for one in measure(draw_facts(LEAST, 2 * i), draw_facts(LEAST, 2 * i + 1)))
        for i in range(60)
    )
    assert alarms <= 2
    found = {one.name: one for one in measure(draw_facts(200, 1), draw_facts(200, 2, shift=1.5))}
    assert found["brightness"].is_alarm and found["features"].is_alarm
    assert not found["contrast"].is_alarm and not found["flaw_score"].is_alarm


def test_foreign_photos_are_counted() -> None:
    def shares(*values: float | None) -> list[dict]:
        return [{"share_foreign": value} for value in values]

    assert count_foreign(shares(*[None] * 100)) is None and count_foreign(shares(0.9)) is None
    rate = count_foreign(shares(*[0.9] * 30, *[0.1] * 70))
    assert rate.value == pytest.approx(0.3) and rate.low > MOST_FOREIGN


def draw_windows(n_flawed: int, n_good: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and features in which flawed photos differ a little from good ones."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.beta(8, 2, n_flawed), rng.beta(2, 8, n_good)])
    features = rng.normal(size=(n_flawed + n_good, N_AXES))
    features[:n_flawed, 0] += 2
    return scores, features


def to_facts(scores: np.ndarray, features: np.ndarray) -> list[dict]:
    pairs = zip(scores, features, strict=True)
    return [{"window_score": float(score), "window_features": list(row)} for score, row in pairs]


def keep(bundle: Bundle, flawed: tuple, good: tuple) -> Bundle:
    """The bundle with these held-back photos, each from a source of its own."""
    held_back = HeldBack(*(np.float32(values) for values in (*flawed, *good)))
    counts = HeldBackCounts(len(flawed[0]), len(good[0]), len(flawed[0]), len(good[0]))
    return write_spec(bundle, dataclasses.replace(bundle.spec, held_back=counts), held_back=held_back)


@pytest.fixture
def own_bundle(tiny: SimpleNamespace, tmp_path: Path) -> Bundle:
    head = tiny.make_head()
    return write_bundle(tmp_path / "run" / "model", tiny.make_spec(), tiny.make_onnx(head), head)


def test_other_shares_of_flaws_are_no_drift_from_the_training_set(own_bundle: Bundle) -> None:
    assert hold_against_training(to_facts(*draw_windows(50, 50, 0)), own_bundle) is None
    known = keep(own_bundle, draw_windows(80, 0, 1), draw_windows(0, 80, 2))
    for n_flawed in (0, 10, 50, 100):
        found = [
            hold_against_training(to_facts(*draw_windows(n_flawed, 100 - n_flawed, seed)), known)
            for seed in range(3, 23)
        ]
        assert sum(one.is_alarm for one in found) <= 1
        assert np.mean([one.share_flawed for one in found]) == pytest.approx(n_flawed / 100, abs=0.08)
    few = keep(own_bundle, draw_windows(80, 0, 1), draw_windows(0, 5, 2))
    assert hold_against_training(to_facts(*draw_windows(50, 50, 0)), few) is None


def test_other_scores_or_features_are_drift_from_the_training_set(own_bundle: Bundle) -> None:
    known = keep(own_bundle, draw_windows(80, 0, 1), draw_windows(0, 80, 2))
    scores, features = draw_windows(50, 50, 3)
    unsure = np.random.default_rng(0).beta(20, 20, 100)  # neither as flawed photos score nor as good ones
    found = hold_against_training(to_facts(unsure, features), known)
    assert found.is_alarm and [one.is_alarm for one in found.measures] == [True, False]
    moved = features + np.eye(N_AXES)[5] * 3
    found = hold_against_training(to_facts(scores, moved), known)
    assert found.is_alarm and [one.is_alarm for one in found.measures] == [False, True]
    assert found.measures[1].latest_mean - found.measures[1].reference_mean == pytest.approx(3, abs=0.5)
    assert hold_against_training(to_facts(unsure, features)[: LEAST_LATEST - 1], known) is None
    assert hold_against_training([{}] * 100, known) is None  # seen before windows were drawn


@pytest.mark.slow
def test_photos_are_held_against_the_training_set_from_the_first_on(
    own_bundle: Bundle, tiny: SimpleNamespace, tmp_path: Path, monkeypatch
) -> None:
    from starlette.testclient import TestClient

    from flawmap.service.app import create_app
    from flawmap.service.options import ServeOptions
    from flawmap.service.running import running_service

    monkeypatch.setattr("flawmap.service.training_drift.LEAST_LATEST", 10)
    monkeypatch.setattr("flawmap.service.drift.MOST", 16)
    clear = [(np.full(30, score), np.zeros((30, N_AXES))) for score in (0.99, 0.004)]
    options = ServeOptions(data=tmp_path / "data", n_threads=1)
    with running_service([keep(own_bundle, *clear).folder], options) as service:
        client = TestClient(create_app(service), base_url="http://localhost")
        inspect(client, [to_site(i, None, tiny) for i in range(16)])
        found = client.get("/v1/drift").json()["training"]
        score, features = found["measures"]
        assert found["n_latest"] == 16 and found["share_flawed"] < 0.05 and not score["is_alarm"]
        assert features["is_alarm"]  # bright photos, where the training set's were like nothing
        inspect(client, [to_png(tiny.make_photo(100 + i, None, (192, 256)) - 90) for i in range(16)])
        service.drift.look()
        found = client.get("/v1/drift").json()
        assert found["state"] == "alarm" and found["training"]["measures"][0]["is_alarm"]
        assert 'measure="window score"' in client.get("/metrics").text


@pytest.mark.slow
def test_an_alarm_is_told_once(open_service: Callable, tiny: SimpleNamespace, monkeypatch) -> None:
    from flawmap.service.webhook import SECRET

    monkeypatch.setattr("flawmap.service.drift.LEAST", 10)
    monkeypatch.setenv(SECRET, "a secret of sixteen or more")
    client, service = open_service(webhook="http://127.0.0.1:9/nobody")
    usual = inspect(client, [to_site(i, None, tiny) for i in range(12)])
    assert client.get("/v1/drift").json()["state"] == "too few photos"
    post(client, "/v1/drift/reference", {"inspection": usual["id"]})
    dark = [to_png(tiny.make_photo(100 + i, None, (192, 256)) // 3 + 90) for i in range(12)]
    inspect(client, dark)
    for _ in range(2):
        service.drift.look()
    found = client.get("/v1/drift").json()
    assert found["state"] == "alarm" and found["n_latest"] == 12 and "named by local" in found["reference"]
    assert [one["event"] for one in client.get("/v1/deliveries").json()] == ["drift"]
    assert "drift alarm began" in {one["what"] for one in client.get("/v1/audit-log").json()}
    text = client.get("/metrics").text
    assert 'flawmap_drift_alarm{model="' in text and "flawmap_deliveries_waiting 1.0" in text
    assert client.post("/v1/drift/reference", json={"inspection": "0" * 32}).status_code == 404
