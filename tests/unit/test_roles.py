import dataclasses
import json

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schema import FeatureRoles, SchemaError, categories, feature_roles, load_schema, transformed_name, used_features

NUMERIC = """
feature { name: "x" type: FLOAT presence { min_fraction: 1.0 } shape { dim { size: 1 } } }
"""
LABEL = """
feature {
  name: "y" type: INT presence { min_fraction: 1.0 } shape { dim { size: 1 } }
  int_domain { min: 0 max: 2 } not_in_environment: "SERVING"
}
"""
TEXT_LABEL = """
feature {
  name: "y" type: BYTES presence { min_fraction: 1.0 } shape { dim { size: 1 } }
  string_domain { value: "a" value: "b" } not_in_environment: "SERVING"
}
"""
OPTIONAL = """
feature { name: "colour" type: BYTES presence { min_count: 1 } value_count { min: 1 max: 1 } }
"""
WEIGHT = """
feature {
  name: "w" type: FLOAT presence { min_fraction: 1.0 } shape { dim { size: 1 } } float_domain { min: 0 }
  annotation { tag: "weight" } not_in_environment: "SERVING"
}
"""
ID = 'feature { name: "key" type: BYTES annotation { tag: "id" } }'


def make_schema(text):
    return text_format.Parse(text, schema_pb2.Schema())


def test_reference_schema_has_ten_numeric_features_and_three_classes(reference_schema_file):
    roles = feature_roles(load_schema(reference_schema_file), "gate_action")
    assert len(roles.numeric) == 10
    assert roles.class_names == ("0", "1", "2")


def test_reference_schema_forbids_nan_and_infinity_in_every_numeric_feature(reference_schema_file):
    for feature in load_schema(reference_schema_file).feature:
        if feature.name != "gate_action":
            assert feature.float_domain.disallow_nan
            assert feature.float_domain.disallow_inf


def test_class_names_are_taken_as_given():
    roles = feature_roles(make_schema(NUMERIC + LABEL), "y", ["hold", "release", "flush"])
    assert roles == FeatureRoles(numeric=("x",), label="y", class_names=("hold", "release", "flush"))


def test_features_of_every_kind_get_their_roles():
    category = 'name: "zone" int_domain { min: 7 max: 9 is_categorical: true }'
    flag = NUMERIC.replace('"x" type: FLOAT', '"flag" type: INT bool_domain {}')
    zone = NUMERIC.replace('name: "x" type: FLOAT', f"type: INT {category}")
    roles = feature_roles(make_schema(OPTIONAL + NUMERIC + WEIGHT + zone + flag + ID + TEXT_LABEL), "y")
    assert roles == FeatureRoles(
        numeric=("x",),
        label="y",
        class_names=("a", "b"),
        categorical=("colour", "zone", "flag"),
        ids=("key",),
        weight="w",
        optional=("colour",),
        has_text_label=True,
    )
    assert roles.features == ("x", "colour", "zone", "flag")
    assert FeatureRoles.from_json(json.loads(json.dumps(dataclasses.asdict(roles)))) == roles


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('type: BYTES string_domain { value: "b" value: "a" }', ("b", "a")),
        ('type: BYTES domain: "shared"', ("x", "y")),
        ("type: BYTES", ()),
        ("type: BYTES bool_domain {}", ("false", "true")),
        ('type: BYTES bool_domain { true_value: "yes" false_value: "no" }', ("no", "yes")),
        ("type: INT bool_domain {}", ("0", "1")),
        ("type: INT int_domain { min: -1 max: 1 is_categorical: true }", ("-1", "0", "1")),
        ("type: INT int_domain { min: 0 max: 99999 is_categorical: true }", ()),
        ("type: INT int_domain { is_categorical: true }", ()),
    ],
)
def test_categories_are_those_that_the_domain_lists(text, expected):
    schema = make_schema('string_domain { name: "shared" value: "x" value: "y" } feature { name: "f" ' + text + " }")
    assert categories(used_features(schema)["f"]) == expected


def test_deprecated_feature_plays_no_role():
    deprecated = NUMERIC.replace('"x"', '"z" lifecycle_stage: DEPRECATED')
    assert feature_roles(make_schema(NUMERIC + deprecated + LABEL), "y").numeric == ("x",)


def test_roles_survive_json():
    roles = FeatureRoles(numeric=("x",), label="y", class_names=("hold", "release"))
    assert FeatureRoles.from_json(json.loads(json.dumps(dataclasses.asdict(roles)))) == roles


def test_transformed_name_follows_tfx_examples():
    assert transformed_name("petal_length") == "petal_length_xf"


@pytest.mark.parametrize(
    ("text", "class_names", "message"),
    [
        (NUMERIC, None, r"the label 'y' is not a feature of the schema. Features: x."),
        (LABEL, None, "the schema has no feature beside the label"),
        (NUMERIC + LABEL, ["a", "b"], "2 class names for the 3 values of the label 'y': a, b"),
        (NUMERIC + NUMERIC + LABEL, None, "the schema has 'x' twice"),
        (NUMERIC + LABEL, ["a", "b", "a"], "two classes of the label 'y' have one name: a, b, a"),
        (NUMERIC + LABEL.replace("INT ", "BYTES "), None, "the label 'y' needs a string_domain that names at"),
        (NUMERIC + LABEL.replace("min: 0", "min: 1"), None, "needs an int_domain with min 0 and max"),
        (NUMERIC + LABEL.replace("SERVING", "X"), None, 'must say not_in_environment: "SERVING"'),
        (NUMERIC.replace("FLOAT", "STRUCT") + LABEL, None, "feature 'x' is STRUCT; it must be INT, FLOAT or BYTES"),
        (NUMERIC.replace("type", 'not_in_environment: "SERVING" type') + LABEL, None, "so no request could carry it"),
        (NUMERIC + TEXT_LABEL, ["a", "b"], "the label 'y' is text, whose string_domain names the classes"),
        (NUMERIC + TEXT_LABEL.replace('value: "b"', ""), None, "needs a string_domain that names at least two classes"),
        (
            NUMERIC + WEIGHT.replace("min: 0", "max: 1") + LABEL,
            None,
            "the weight 'w' must be INT or FLOAT with a domain",
        ),
        (
            NUMERIC.replace('"x"', '"examples"') + LABEL,
            None,
            "feature 'examples' has the name of an input of the served",
        ),
        (
            NUMERIC.replace('"x"', '"a_missing"') + OPTIONAL.replace("BYTES", "INT").replace("colour", "a") + LABEL,
            None,
            "feature 'a_missing' has the name of what says whether 'a' is missing. Rename it.",
        ),
        (NUMERIC + WEIGHT.replace("SERVING", "X") + LABEL, None, "the weight 'w' must say not_in_environment"),
        (NUMERIC + WEIGHT + WEIGHT.replace('"w"', '"v"') + LABEL, None, "more than one weight: w, v"),
        (NUMERIC + OPTIONAL.replace("max: 1", "max: 2") + LABEL, None, "or, if it may be missing: presence"),
        (NUMERIC.replace("1.0", "0.5") + LABEL, None, "'x' must be in every row with one value"),
        (NUMERIC + LABEL.replace("1.0", "0.9"), None, "'y' must be in every row with one value"),
        (NUMERIC + LABEL.replace("size: 1", ""), None, "'y' must be in every row with one value"),
        (NUMERIC.replace("size: 1", "size: 2") + LABEL, None, "'x' must be in every row"),
    ],
)
def test_schema_that_is_no_classification_problem_is_refused(text, class_names, message):
    with pytest.raises(SchemaError, match=message):
        feature_roles(make_schema(text), "y", class_names)


def test_all_problems_of_a_schema_are_reported_at_once():
    text = NUMERIC.replace("FLOAT", "STRUCT") + LABEL.replace("INT ", "FLOAT ")
    with pytest.raises(SchemaError, match=r"(?s)'y' is FLOAT.*'x' is STRUCT"):
        feature_roles(make_schema(text), "y")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"feature { nome: 'x' }", "is not a readable schema in text format: 1:11 "),
        (b"\xff\xfe", "is not a readable schema"),
        (b"", "has no feature"),
    ],
    ids=["unknown field", "not UTF-8", "empty"],
)
def test_unreadable_schema_is_named(tmp_path, content, message):
    file = tmp_path / "schema.pbtxt"
    file.write_bytes(content)
    with pytest.raises(SchemaError, match=f"{file} {message}"):
        load_schema(str(file))


def test_missing_schema_is_named():
    with pytest.raises(SchemaError, match=r"nowhere.pbtxt is not a readable schema"):
        load_schema("nowhere.pbtxt")
