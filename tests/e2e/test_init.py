"""`adlake init` against a server that has every bucket setting: what versitygw does not know (lifecycle, encryption, public access).

The server here keeps settings as it gets them and answers them again; nothing else of S3. A real server's part is in test_s3.py.
"""

import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from support import ADLAKE, variables

MISSING = {
    "lifecycle": "NoSuchLifecycleConfiguration",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
}
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
USERS_RULE = "<Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>"


class Bucket(ThreadingHTTPServer):
    """One bucket: exists or not, and its settings as XML by query name."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.exists, self.settings, self.puts, self.denied = False, {}, [], set()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body=""):
        self.send_response(code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def error(self, code, name):
        self.answer(code, f"<Error><Code>{name}</Code><Message>as told</Message></Error>")

    def name(self):
        return urlsplit(self.path).query.split("&")[0].split("=")[0]

    def do_HEAD(self):
        self.answer(200 if self.server.exists else 404)

    def do_GET(self):
        name = self.name()
        if name in self.server.denied:
            return self.error(403, "AccessDenied")
        if name == "versioning":
            return self.answer(200, self.server.settings.get(name, f"<VersioningConfiguration {NAMESPACE}/>"))
        found = self.server.settings.get(name)
        return self.answer(200, found) if found else self.error(404, MISSING[name])

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        name = self.name()
        self.server.puts.append(name or "bucket")
        if name:
            self.server.settings[name] = body
        else:
            self.server.exists = True
        self.answer(200)


@pytest.fixture
def bucket():
    server = Bucket()
    yield server
    server.shutdown()


def init(bucket, *arguments):
    keys = {
        "storage.s3.endpoint": f"http://127.0.0.1:{bucket.server_port}",
        "storage.s3.region": "us-east-1",
        "storage.s3.access_key_id": "key",
        "storage.s3.secret_access_key": "secret",
        "storage.s3.allow_http": "true",
    }
    command = [ADLAKE, "init", "s3://ads/lake", *arguments]
    return subprocess.run(command, env={**os.environ, **variables(keys)}, capture_output=True, text=True, timeout=60)


def test_a_new_bucket_is_made_and_set_up_and_the_second_run_changes_nothing(bucket):
    first = init(bucket)
    assert first.returncode == 0, first
    assert bucket.puts == ["bucket", "publicAccessBlock", "encryption", "lifecycle"], first.stdout
    assert bucket.settings["publicAccessBlock"].count("true") == 4
    assert "AES256" in bucket.settings["encryption"]
    assert "<DaysAfterInitiation>1</DaysAfterInitiation>" in bucket.settings["lifecycle"] and "<Prefix>lake/</Prefix>" in bucket.settings["lifecycle"]
    bucket.puts.clear()
    second = init(bucket)
    assert second.returncode == 0 and bucket.puts == [], second
    assert all(line.startswith("already so") for line in second.stdout.splitlines()[:-1]), second.stdout


def test_a_dry_run_only_says(bucket):
    bucket.exists = True
    said = init(bucket, "--dry-run")
    assert said.returncode == 0 and bucket.puts == [], said
    assert said.stdout.count("would do") == 3 and "nothing was changed" in said.stdout, said.stdout


def test_rules_of_the_users_stay(bucket):
    bucket.exists = True
    bucket.settings["lifecycle"] = f"<LifecycleConfiguration {NAMESPACE}>{USERS_RULE}</LifecycleConfiguration>"
    assert init(bucket).returncode == 0
    rules = bucket.settings["lifecycle"]
    assert rules.count("<Rule>") == 2 and "<ID>logs</ID>" in rules and "<Days>30</Days>" in rules and "adlake" in rules, rules


def test_dangers_are_said(bucket):
    bucket.exists = True
    bucket.settings["versioning"] = f"<VersioningConfiguration {NAMESPACE}><Status>Enabled</Status></VersioningConfiguration>"
    whole = USERS_RULE.replace("logs/", "")
    bucket.settings["lifecycle"] = f"<LifecycleConfiguration {NAMESPACE}>{whole}</LifecycleConfiguration>"
    said = init(bucket)
    assert "rule 'logs' of yours deletes objects of the lake" in said.stdout, said.stdout
    assert "NoncurrentVersionExpiration" in said.stdout, said.stdout


def test_a_setting_that_may_not_be_read_fails_alone(bucket):
    bucket.exists, bucket.denied = True, {"encryption"}
    said = init(bucket)
    assert said.returncode == 1 and "FAILED" in said.stdout and "permission denied (AccessDenied)" in said.stdout, said
    assert bucket.puts == ["publicAccessBlock", "lifecycle"], bucket.puts
