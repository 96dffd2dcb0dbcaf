"""TLS with the clients people have: curl, openssl, Python ADBC, gRPC, JDBC, adlake itself. Certificates are openssl's.

What is refused in which way, reloads and half-open connections in detail are in tests/it/tls; here, that real clients and a
real process agree on it.
"""

import json
import shutil
import signal
import socket
import ssl
import subprocess
import time

import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import grpc
import pytest
from adbc_driver_flightsql import DatabaseOptions
from support import ADLAKE, KEYED, TOOLS, Server

PATIENCE_SECONDS = 30


class Certificates:
    """An authority and what it signs, as files in a folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.ca = folder / "ca.pem"
        self._openssl("req", "-x509", *self._new_key("ca", "rsa:2048"), "-days", "30", "-subj", "/CN=adlake test authority", "-out", self.ca)

    def server(self, name="server", key="rsa:2048", days=30, hosts="DNS:localhost,IP:127.0.0.1"):
        return self._sign(name, key, days, f"subjectAltName={hosts}\nextendedKeyUsage=serverAuth\n")

    def client(self, name, key="ec"):
        return self._sign(name, key, 30, "extendedKeyUsage=clientAuth\n")

    def _sign(self, name, key, days, extensions):
        """Makes name.pem and name.key; returns their paths."""
        request, extended = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extended.write_text("basicConstraints=CA:FALSE\n" + extensions)
        certificate = self.folder / f"{name}.pem"
        self._openssl("req", "-new", *self._new_key(name, key), "-subj", f"/CN={name}", "-out", request)
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.folder / "ca.key", "-CAcreateserial",
            "-days", str(days), "-extfile", extended, "-out", certificate,
        )  # fmt: skip
        return certificate, self.folder / f"{name}.key"

    def _new_key(self, name, key):
        curve = ("-pkeyopt", "ec_paramgen_curve:P-256") if key == "ec" else ()
        return ("-newkey", key, *curve, "-noenc", "-keyout", self.folder / f"{name}.key")

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def trusting(certificates, client=None):
    context = ssl.create_default_context(cafile=certificates.ca)
    if client:
        context.load_cert_chain(*client)
    return context


def settings(certificates, name="server", **more):
    paths = {"tls.certificate": certificates.folder / f"{name}.pem", "tls.key": f"file:{certificates.folder / name}.key"}
    return {**paths, **{key.replace("__", "."): value for key, value in more.items()}}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("tls") / "certificates")
    made.server()
    return made


@pytest.fixture(scope="module")
def secure(tmp_path_factory, certificates):
    with Server(tmp_path_factory.mktemp("lake") / "lake", settings=settings(certificates), tls=trusting(certificates)) as running:
        yield running


@pytest.fixture(scope="module")
def mutual(tmp_path_factory, certificates):
    client = certificates.client("pipeline")
    keys = settings(certificates, tls__client_ca=certificates.ca, tls__client_auth="require")
    with Server(tmp_path_factory.mktemp("lake") / "lake", settings=keys, tls=trusting(certificates, client)) as running:
        yield running


def curl(*arguments):
    """Exit code, output, and what it complained about."""
    done = subprocess.run(["curl", "--silent", "--show-error", "--max-time", "30", *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_curl(secure, certificates):
    url = f"{secure.http_url}/healthz"
    for version, said in ("--http2", "2"), ("--http1.1", "1.1"):
        code, version_used, complaint = curl("--cacert", certificates.ca, version, "--output", "/dev/null", "--write-out", "%{http_version}", url)
        assert (code, version_used) == (0, said), complaint
    assert curl(url)[0] == 60, "a signer that curl does not know"
    elsewhere = f"elsewhere.example.com:{secure.http_port}"
    to_us = f"{elsewhere}:127.0.0.1:{secure.http_port}"
    assert curl("--cacert", certificates.ca, "--connect-to", to_us, f"https://{elsewhere}/healthz")[0] == 60, "another name"
    code, body, _ = curl(url.replace("https://", "http://"))
    assert code == 0 and json.loads(body)["detail"] == "this port speaks TLS; use https://"


def s_client(port, *arguments):
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *map(str, arguments)], input="", capture_output=True, text=True, timeout=30
    )
    return done.stdout + done.stderr


def test_versions_and_protocols_as_openssl_sees_them(secure, certificates):
    for port in secure.http_port, secure.flight_port:
        for version in "-tls1_2", "-tls1_3":
            said = s_client(port, version, "-CAfile", certificates.ca, "-alpn", "h2")
            assert "Verify return code: 0 (ok)" in said and "ALPN protocol: h2" in said, said
        # SECLEVEL=0: openssl itself would not offer it.
        said = s_client(port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        assert "alert protocol version" in said or "alert handshake failure" in said, said


def test_a_key_on_a_curve_and_tls_1_3_only(tmp_path, certificates):
    certificates.server("curve", key="ec")
    keys = settings(certificates, "curve", tls__min_version="1.3")
    with Server(tmp_path / "lake", settings=keys, tls=trusting(certificates)) as server:
        assert server.sql("SELECT 7 AS n") == [{"n": 7}]
        assert "alert protocol version" in s_client(server.http_port, "-tls1_2")


def adbc(server, **options):
    return flight.connect(server.flight_url, autocommit=True, db_kwargs={DatabaseOptions[key].value: text for key, text in options.items()})


def asked(server, **options):
    with adbc(server, **options) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 7")
        return cursor.fetchall()


def test_adbc(secure, certificates):
    ca = certificates.ca.read_text()
    assert asked(secure, TLS_ROOT_CERTS=ca) == [(7,)]
    with pytest.raises(adbc_driver_manager.Error, match="certificate"):
        asked(secure)


def test_adbc_with_a_certificate_of_its_own(mutual, certificates):
    ca, (chain, key) = certificates.ca.read_text(), certificates.client("adbc", key="rsa:2048")
    own = {"MTLS_CERT_CHAIN": chain.read_text(), "MTLS_PRIVATE_KEY": key.read_text()}
    assert asked(mutual, TLS_ROOT_CERTS=ca, **own) == [(7,)]
    with pytest.raises(adbc_driver_manager.Error):
        asked(mutual, TLS_ROOT_CERTS=ca)


def test_grpc(secure, certificates, ingest):
    messages, stubs = ingest
    secure.sql(KEYED)
    line = b'{"event_id":"1","event_time":"2026-01-01T00:00:00Z","number":1}\n'
    credentials = grpc.ssl_channel_credentials(root_certificates=certificates.ca.read_bytes())
    with grpc.secure_channel(f"localhost:{secure.flight_port}", credentials) as channel:
        reply = stubs.IngestStub(channel).Append(messages.AppendRequest(table="keyed", ndjson=line), timeout=60)
    assert reply.accepted == 1
    (lease,) = secure.sql("SELECT http, grpc FROM system.leases WHERE name = 'ingest-keyed'")
    assert lease == {"http": f"https://127.0.0.1:{secure.http_port}", "grpc": f"grpc+tls://127.0.0.1:{secure.flight_port}"}


def jdbc(server, *options):
    """Runs one check of jdbc/Checks.java."""
    java = shutil.which("java")
    assert java, "Java is not installed; tests/run.sh tools installs it"
    url = f"jdbc:arrow-flight-sql://localhost:{server.flight_port}?" + "&".join(("useEncryption=true", *map(str, options)))
    command = [
        java, "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", f"{TOOLS}/jdbc/classes:{TOOLS}/jdbc/lib/*",
        "adlake.Checks", url, "0", "ddl_and_row_counts",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_jdbc(secure, certificates):
    done = jdbc(secure, f"tlsRootCerts={certificates.ca}")
    assert done.returncode == 0 and "ok ddl_and_row_counts" in done.stdout, done.stdout[:4000] + done.stderr[:4000]
    store = certificates.folder / "trust.p12"
    keytool = [shutil.which("keytool"), "-importcert", "-noprompt", "-alias", "adlake", "-file", str(certificates.ca)]
    subprocess.run([*keytool, "-keystore", str(store), "-storetype", "PKCS12", "-storepass", "changeit"], check=True, capture_output=True)
    own = (f"trustStore={store}", "trustStorePassword=changeit", "useSystemTrustStore=false")
    done = jdbc(secure, *own)
    assert done.returncode == 0, done.stdout[:4000] + done.stderr[:4000]
    assert jdbc(secure).returncode != 0, "a signer that Java does not know"


def test_jdbc_with_a_certificate_of_its_own(mutual, certificates):
    chain, key = certificates.client("jdbc", key="rsa:2048")
    own = (f"clientCertificate={chain}", f"clientKey={key}")
    done = jdbc(mutual, f"tlsRootCerts={certificates.ca}", *own)
    assert done.returncode == 0, done.stdout[:4000] + done.stderr[:4000]
    assert jdbc(mutual, f"tlsRootCerts={certificates.ca}").returncode != 0


def test_adlake_itself(mutual, certificates, tmp_path):
    chain, key = certificates.client("operator")

    def sql(url, *options):
        command = [ADLAKE, "sql", "--url", url, "--format", "csv", "-c", "SELECT 7 AS n", *map(str, options)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    own = ("--ca", certificates.ca, "--client-cert", chain, "--client-key", key)
    assert sql(mutual.flight_url, *own) == (0, "n\n7\n")
    code, said = sql(mutual.flight_url, "--ca", certificates.ca)
    assert code == 1 and "--client-cert" in said, said
    code, said = sql(f"grpc://localhost:{mutual.flight_port}")
    assert code == 1 and "grpc+tls://" in said, said


def shown(port):
    return ssl.get_server_certificate(("127.0.0.1", port))


def test_a_replaced_certificate_is_served_at_sighup_and_a_bad_one_is_not(tmp_path, certificates):
    own = Certificates(tmp_path / "certificates")
    own.server()
    keys = settings(own, tls__reload_interval="1 hour")
    with Server(tmp_path / "lake", settings=keys, tls=trusting(own)) as server:
        before = shown(server.http_port)

        def hang_up_until(holds):
            server.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + PATIENCE_SECONDS
            while not holds():
                assert time.monotonic() < end, server.tail()
                time.sleep(0.02)

        own.server()
        hang_up_until(lambda: shown(server.http_port) != before)
        second = shown(server.http_port)
        assert second == shown(server.flight_port)
        (own.folder / "server.pem").write_text("not a certificate")
        last_error = "SELECT last_error FROM system.listeners WHERE protocol = 'http'"
        hang_up_until(lambda: server.sql(last_error)[0]["last_error"])
        assert "tls.certificate" in server.sql(last_error)[0]["last_error"]
        assert shown(server.http_port) == second
        assert "cannot be used" in server.tail()


def test_silent_connections_keep_nobody_out(tmp_path, certificates):
    limits = settings(certificates, tls__max_handshakes="20", http__max_connections="5", tls__handshake_timeout="1 hour")
    with Server(tmp_path / "lake", settings=limits, tls=trusting(certificates)) as server:
        silent = [socket.create_connection(("127.0.0.1", server.http_port)) for _ in range(100)]
        assert server.sql("SELECT 7 AS n") == [{"n": 7}]
        silent[0].settimeout(PATIENCE_SECONDS)
        assert silent[0].recv(1) == b"", "who has waited longest is let go"
        for connection in silent:
            connection.close()
