import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from components.pusher import versions as v


@pytest.fixture
def base(tmp_path):
    for number in (3, 5, 9):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "saved_model.pb").write_text("graph")
    (tmp_path / "11").mkdir()  # no model
    (tmp_path / "latest").mkdir()
    return tmp_path


def label(base, version, name, **arguments):
    return v.assign_label(base, version, name, settle_secs=0, **arguments)


def config_of(base):
    config = model_server_config_pb2.ModelServerConfig()
    (model,) = text_format.Parse((base / v.MODELS_CONFIG_FILE).read_text(), config).model_config_list.config
    return model


def test_without_a_config_the_newest_model_is_served(base):
    assert v.list_versions(base) == [3, 5, 9]
    assert v.served_versions(base) == [9]


def test_missing_destination_has_no_versions(tmp_path):
    assert v.list_versions(tmp_path / "none") == []
    assert v.served_versions(tmp_path / "none") == []


def test_promotion_serves_the_version_and_the_one_to_roll_back_to(base):
    label(base, 5, v.STABLE)
    model = config_of(base)
    assert (model.name, model.base_path, model.model_platform) == (base.name, str(base), "tensorflow")
    assert list(model.model_version_policy.specific.versions) == [3, 5]
    assert dict(model.version_labels) == {"stable": 5}
    assert v.served_versions(base) == [3, 5]


def test_canary_leaves_stable_where_it_is(base):
    label(base, 3, v.STABLE)
    assert label(base, 9, v.CANARY).labels == {"stable": 3, "canary": 9}
    assert v.served_versions(base) == [3, 9]


def test_first_canary_makes_stable_what_was_served(base):
    assert label(base, 5, v.CANARY).labels == {"stable": 9, "canary": 5}


def test_label_moves_only_once_a_server_could_load_the_version(base, monkeypatch):
    """TF Serving refuses a config that moves a label to a version which it has not loaded."""
    label(base, 3, v.STABLE)
    seen = []
    monkeypatch.setattr(v.time, "sleep", lambda _: seen.append(v.read_policy(base)))
    label(base, 9, v.STABLE)
    assert [(policy.versions, policy.labels) for policy in seen] == [((3, 5, 9), {"stable": 3})]
    assert v.read_policy(base).labels == {"stable": 9}
    v.rollback(base)  # is loaded already
    assert len(seen) == 1


def test_rollback_goes_to_the_next_older_version_and_takes_canary_away(base):
    label(base, 5, v.STABLE)
    label(base, 9, v.CANARY)
    assert v.rollback(base, settle_secs=0).labels == {"stable": 3}
    with pytest.raises(v.VersionError, match="no version older than 3 to roll back to"):
        v.rollback(base, settle_secs=0)


def test_rollback_without_a_config_leaves_the_newest(base):
    assert v.rollback(base, settle_secs=0).versions == (3, 5)


def test_unknown_version_is_named_with_those_that_exist(base):
    with pytest.raises(v.VersionError, match=r"has no version 11\. Versions: 3, 5, 9"):
        label(base, 11, v.STABLE)


def test_base_path_of_the_server_is_kept(base):
    label(base, 5, v.STABLE, base_path="/models/reference")
    label(base, 9, v.STABLE)
    assert config_of(base).base_path == "/models/reference"


@pytest.mark.parametrize("text", ["model_config_list {", "model_config_list { config {} config {} }", "\xff"])
def test_config_that_is_not_of_one_model_is_an_error(base, text):
    (base / v.MODELS_CONFIG_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(v.VersionError, match=r"models\.config"):
        label(base, 5, v.STABLE)


def test_prune_spares_newest_served_and_labelled(base):
    label(base, 5, v.STABLE)
    assert v.prune(base, 1) == []  # 3 is where a rollback would go
    (base / v.MODELS_CONFIG_FILE).unlink()
    assert v.prune(base, 1) == [3, 5]
    assert v.list_versions(base) == [9]


def test_nothing_but_the_config_is_left_of_a_promotion(base):
    before = {path.name for path in base.iterdir()}
    label(base, 5, v.STABLE)
    assert {path.name for path in base.iterdir()} == before | {v.MODELS_CONFIG_FILE}


@pytest.mark.parametrize(("policy", "served"), [("all {}", [3, 5, 9]), ("latest { num_versions: 2 }", [5, 9])])
def test_policy_that_serves_more_than_the_newest_is_respected(policy, served, base):
    text = f"model_config_list {{ config {{ model_version_policy {{ {policy} }} }} }}"
    (base / v.MODELS_CONFIG_FILE).write_text(text)
    assert v.served_versions(base) == served
    v.prune(base, 1)
    assert v.list_versions(base) == served


def test_what_a_user_wrote_into_the_config_stays(base):
    text = 'model_config_list { config { name: "other" logging_config { sampling_config { sampling_rate: 0.5 } } } }'
    (base / v.MODELS_CONFIG_FILE).write_text(text)
    label(base, 5, v.STABLE)
    model = config_of(base)
    assert model.name == "other"
    assert model.logging_config.sampling_config.sampling_rate == 0.5
    assert dict(model.version_labels) == {"stable": 5}
