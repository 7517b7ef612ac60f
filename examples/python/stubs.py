"""The gRPC code of the protos: written into generated/ when the protos have changed, and imported from there."""

import pathlib
import sys

from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = HERE.parents[1] / "protos"
GENERATED = HERE / "generated"


def write():
    files = sorted(PROTOS.glob("cogwheel/**/*.proto"))
    if not files:
        sys.exit(f"error: expected the protos in {PROTOS}, found none")
    stamp = GENERATED / ".written"
    if stamp.exists() and all(file.stat().st_mtime <= stamp.stat().st_mtime for file in files):
        return
    GENERATED.mkdir(exist_ok=True)
    outputs = [f"--proto_path={PROTOS}", f"--python_out={GENERATED}", f"--grpc_python_out={GENERATED}"]
    if protoc.main(["protoc", *outputs, *map(str, files)]) != 0:
        sys.exit(f"error: expected protos that compile in {PROTOS}")
    stamp.touch()


write()
sys.path.insert(0, str(GENERATED))

from cogwheel.adapter.v1 import adapter_pb2, adapter_pb2_grpc  # noqa: E402
from cogwheel.generation.v1 import generation_pb2, generation_pb2_grpc  # noqa: E402

__all__ = ["adapter_pb2", "adapter_pb2_grpc", "generation_pb2", "generation_pb2_grpc"]
