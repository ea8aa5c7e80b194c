"""The pipeline that TFX's own examples would write for the reference data: stock components, default Beam arguments.

`python tests/benchmarks/stock_pipeline.py DATA_DIR OUTPUT_DIR`
"""

import sys
from pathlib import Path

import tensorflow_model_analysis as tfma
from stock_module import LABEL
from tfx import v1 as tfx

MODULE_FILE = str(Path(__file__).parent / "stock_module.py")


def create_pipeline(data_dir, output_dir):
    """Creates CsvExampleGen to Pusher."""
    example_gen = tfx.components.CsvExampleGen(input_base=data_dir)
    examples = example_gen.outputs["examples"]
    statistics_gen = tfx.components.StatisticsGen(examples=examples)
    statistics = statistics_gen.outputs["statistics"]
    schema_gen = tfx.components.SchemaGen(statistics=statistics, infer_feature_shape=True)
    schema = schema_gen.outputs["schema"]
    validator = tfx.components.ExampleValidator(statistics=statistics, schema=schema)
    transform = tfx.components.Transform(examples=examples, schema=schema, module_file=MODULE_FILE)
    trainer = tfx.components.Trainer(
        module_file=MODULE_FILE,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        train_args=tfx.proto.TrainArgs(),
        eval_args=tfx.proto.EvalArgs(),
    )
    threshold = tfma.MetricThreshold(value_threshold={"lower_bound": {"value": 0.9}})
    eval_config = tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="serving_default",
                label_key=f"{LABEL}_xf",
                preprocessing_function_names=["transform_features"],
            )
        ],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[
            tfma.MetricsSpec(metrics=[tfma.MetricConfig(class_name="SparseCategoricalAccuracy", threshold=threshold)])
        ],
    )
    evaluator = tfx.components.Evaluator(examples=examples, model=trainer.outputs["model"], eval_config=eval_config)
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=f"{output_dir}/serving")
        ),
    )
    nodes = [
        example_gen,
        statistics_gen,
        schema_gen,
        validator,
        transform,
        trainer,
        evaluator,
    ]
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=f"{output_dir}/pipelines",
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            f"{output_dir}/metadata.db"
        ),
        components=[*nodes, pusher],
    )


if __name__ == "__main__":
    data_dir, output_dir = (str(Path(arg).resolve()) for arg in sys.argv[1:])
    tfx.orchestration.LocalDagRunner().run(create_pipeline(data_dir, output_dir))
