"""Fixtures: one server per test file, a fresh one per test where a test says so; the messages of gRPC, generated once."""

import importlib
import sys
from pathlib import Path

import pytest
from grpc_tools import protoc
from support import Server

PROTO = Path(__file__).resolve().parent.parent.parent / "proto"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("lake") / "lake") as running:
        yield running


@pytest.fixture(scope="session")
def ingest(tmp_path_factory):
    """The generated modules (messages, stubs)."""
    out = tmp_path_factory.mktemp("stubs")
    arguments = ["protoc", f"-I{PROTO}", f"--python_out={out}", f"--grpc_python_out={out}", "adlake/v1/ingest.proto"]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, str(out))
    return importlib.import_module("adlake.v1.ingest_pb2"), importlib.import_module("adlake.v1.ingest_pb2_grpc")
