"""Starting, refusing to start, stopping: what an operator sees of the process."""

import json
import os
import socket
import subprocess
import threading
import urllib.request

from support import ADLAKE, Server


def refused(arguments, folder, **environment):
    """Runs a command that must fail; returns what it said."""
    done = subprocess.run(
        [ADLAKE, *map(str, arguments)], cwd=folder, env=dict(os.environ, **environment), capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (1, 2), done
    return done.stderr


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(["serve", "--lake", "lake", "--sql", ""], tmp_path, ADLAKE__HTTP__PORT=str(port), ADLAKE__FLIGHT__PORT="0")
    assert f"127.0.0.1:{port}" in said and "http.port" in said, said


def test_a_lake_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "lake").write_text("not a folder")
    said = refused(["sql", "--lake", "lake", "-c", "SELECT 1"], tmp_path)
    assert "lake" in said and "file" in said, said
    assert (tmp_path / "lake").read_text() == "not a folder"


def test_an_unknown_key_is_named_with_its_origin(tmp_path):
    said = refused(["serve"], tmp_path, ADLAKE__HTTP__PROT="1")
    assert "'http.prot'" in said and "ADLAKE__HTTP__PROT" in said and "'http.port'" in said, said


def test_listening_beyond_this_machine_must_be_said_aloud(tmp_path):
    said = refused(["serve", "--lake", "lake", "--sql", ""], tmp_path, ADLAKE__SERVER__BIND="0.0.0.0", ADLAKE__HTTP__PORT="0", ADLAKE__FLIGHT__PORT="0")
    assert "server.insecure" in said, said


def test_config_explain_tells_value_and_origin(tmp_path):
    done = subprocess.run(
        [ADLAKE, "config", "explain", "http.port"], cwd=tmp_path, env=dict(os.environ, ADLAKE__HTTP__PORT="1234"), capture_output=True, text=True
    )
    assert done.returncode == 0 and "1234" in done.stdout and "ADLAKE__HTTP__PORT" in done.stdout, done


def test_sigterm_answers_accepted_work_and_a_restart_shows_the_same(tmp_path):
    lake = tmp_path / "lake"
    with Server(lake, settings={"server.drain": "4 minutes"}) as server:
        server.sql("CREATE TABLE t (a BIGINT)")
        answers = []

        def slow():
            body = json.dumps({"sql": "INSERT INTO t SELECT value FROM generate_series(1, 3000000)"}).encode()
            request = urllib.request.Request(server.http_url + "/v1/sql", body, {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=240) as response:
                answers.append(json.loads(response.read()))

        sender = threading.Thread(target=slow)
        sender.start()
        while not server.sql("SELECT count(*) AS n FROM system.queries WHERE sql LIKE 'INSERT INTO t%' AND state = 'running'")[0]["n"] and sender.is_alive():
            pass
        assert server.stop() == 0
        sender.join()
        assert answers and answers[0]["rows"] == 3_000_000, answers
    with Server(lake) as server:
        assert server.sql("SELECT count(*) AS n FROM t") == [{"n": 3_000_000}]
