"""Looks for operations that a served model must not have. Runs in InfraValidator's process.

A model is a program: TF Serving runs whatever its graph says (TensorFlow, Using TensorFlow Securely).
"""

from collections.abc import Iterable, Iterator

from tensorflow.core.framework import function_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2

_FORBIDDEN = {
    "reads or writes files": """
        ReadFile WriteFile MatchingFiles WholeFileReader WholeFileReaderV2 TextLineReader TextLineReaderV2
        FixedLengthRecordReader FixedLengthRecordReaderV2 TFRecordReader TFRecordReaderV2 IdentityReader
        IdentityReaderV2 LMDBReader TextLineDataset TFRecordDataset TFRecordDatasetV2 FixedLengthRecordDataset
        FixedLengthRecordDatasetV2 CSVDataset CSVDatasetV2 SqlDataset MatchingFilesDataset CacheDataset
        CacheDatasetV2 SaveDataset SaveDatasetV2 LoadDataset DatasetToTFRecord SnapshotDataset SnapshotDatasetV2
        CreateSummaryFileWriter WriteSummary FileSystemSetConfiguration Save SaveSlices Restore RestoreSlice
        CreateSummaryDbWriter DebugIdentity DebugIdentityV2 DebugIdentityV3
        ImmutableConst RecordInput ListSnapshotChunksDataset LoadAndRemapMatrix GenerateVocabRemapping DistributedSave
        DecodeProtoV2 EncodeProtoV2
    """,
    "prints, to a file if it likes": "Print PrintV2",
    "calls Python, which no server has": "PyFunc PyFuncStateless EagerPyFunc GeneratorDataset",
    "speaks to other machines": "RpcOp RemoteCall DataServiceDataset DataServiceDatasetV2",
    "is compiled by XLA, which TF Serving has switched off": "XlaLaunch XlaLaunchV2 _XlaCompile _XlaRun",
}
_REASONS = {op: reason for reason, ops in _FORBIDDEN.items() for op in ops.split()}
# A SavedModel restores its variables and fills its tables with these; no request may.
_ONLY_AT_LOAD = {
    "SaveV2",
    "RestoreV2",
    "MergeV2Checkpoints",
    "InitializeTableFromTextFile",
    "InitializeTableFromTextFileV2",
}
_XLA_ATTRIBUTES = ("_XlaMustCompile", "jit_compile")


def forbidden_operations(meta_graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    """Returns a sentence for each kind of operation that a served model must not have.

    Args:
        meta_graph: Of which the whole graph and its function library are read, whether a signature reaches them or not.
    """
    graph = meta_graph.graph_def
    nodes: list[tuple[str, node_def_pb2.NodeDef]] = [("the graph", node) for node in graph.node]
    nodes += [(function.signature.name, node) for function in graph.library.function for node in function.node_def]
    found: dict[str, str] = {}
    for where, node in nodes:
        if reason := _REASONS.get(node.op):
            found.setdefault(f"{node.op} {reason}", where)
        if any(node.attr[name].b for name in _XLA_ATTRIBUTES if name in node.attr):
            found.setdefault(f"{node.op} is compiled by XLA, which TF Serving has switched off", where)
    for function in graph.library.function:
        if any(function.attr[name].b for name in _XLA_ATTRIBUTES if name in function.attr):
            name = function.signature.name
            found.setdefault("a function is compiled by XLA (jit_compile), which TF Serving has switched off", name)
    for op, where in _load_operations_in_requests(meta_graph):
        found.setdefault(f"{op} reads or writes files on a request", where)
    outside = sorted({asset.filename for asset in meta_graph.asset_file_def if not _is_inside(asset.filename)})
    problems = [f"the asset {name!r} lies outside of the model's assets" for name in outside]
    return [*problems, *(f"{what}, in {where}" for what, where in sorted(found.items()))]


def _is_inside(name: str) -> bool:
    """Whether a name leads to a file under the folder of the assets, where TensorFlow looks for it as it is."""
    return bool(name) and not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


def _load_operations_in_requests(meta_graph: meta_graph_pb2.MetaGraphDef) -> Iterator[tuple[str, str]]:
    """Yields the operations that belong to the load and that some signature reaches, and where."""
    graph = meta_graph.graph_def
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}
    outputs = (
        info.name
        for name, signature in meta_graph.signature_def.items()
        if not name.startswith("__")
        for info in signature.outputs.values()
    )
    for function in _reached_functions(_upstream(outputs, nodes), functions):
        for node in function.node_def:
            if node.op in _ONLY_AT_LOAD:
                yield node.op, function.signature.name
    for node in _upstream(outputs, nodes):
        if node.op in _ONLY_AT_LOAD:
            yield node.op, "the graph"


def _upstream(tensor_names: Iterable[str], nodes: dict[str, node_def_pb2.NodeDef]) -> list[node_def_pb2.NodeDef]:
    reached: dict[str, node_def_pb2.NodeDef] = {}
    pending = [name.lstrip("^").split(":")[0] for name in tensor_names]
    while pending:
        name = pending.pop()
        if name in nodes and name not in reached:
            reached[name] = nodes[name]
            pending += [source.lstrip("^").split(":")[0] for source in nodes[name].input]
    return list(reached.values())


def _reached_functions(
    callers: list[node_def_pb2.NodeDef], functions: dict[str, function_pb2.FunctionDef]
) -> list[function_pb2.FunctionDef]:
    reached: dict[str, function_pb2.FunctionDef] = {}
    pending = list(callers)
    while pending:
        node = pending.pop()
        for attribute in node.attr.values():
            for name in (attribute.func.name, *(func.name for func in attribute.list.func)):
                if name in functions and name not in reached:
                    reached[name] = functions[name]
                    pending += functions[name].node_def
    return list(reached.values())
