"""`nngeom watch`: one page on this machine's own address, and nothing else, whoever asks."""

import json
import os
import signal
import subprocess
import sys
from http.client import HTTPConnection
from threading import Thread
from urllib.parse import urlsplit

import made_runs
import pytest
from page_runs import held, saved

from nngeom_cli.cli.entry import main
from nngeom_cli.pages.watch import page_server, version_of


def unknown(config):
    """No defaults, which takes no time."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("runs") / "run", made_runs.plane(epochs=(0, 10), replicates=1))


@pytest.fixture(scope="module")
def server(run):
    with page_server(run, unknown) as serving:
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def asked(server, path, host=None, method="GET"):
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def test_the_page_and_its_data_are_served(server):
    answer, text = asked(server, f"/{server.token}/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "connect-src 'self'" in text
    data, _ = held(text)
    assert data["served"]
    answer, text = asked(server, f"/{server.token}/data")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert json.loads(text) == data
    assert asked(server, f"/{server.token}/data?have={data['version']}")[0].status == 204
    assert {answer.headers[name] for name in ("Cache-Control", "Referrer-Policy", "X-Content-Type-Options")} == {
        *("no-store", "no-referrer", "nosniff")
    }


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/data", "/run.json", "//", "/../run.json", "/%2e%2e/run.json", "*", "http://example.org/"),
        *("/{token}", "/{token}/run.json", "/{token}/../run.json", "/{token}/history.csv", "/{token}/data/"),
        *(
            "/{half}/",
            "/{token}x/",
            "/{token}//data",
            "/{token}/data%00",
            "/{token}/?x",
            "/{token}/#/../",
        ),
    ],
)
def test_nothing_else_is_served(server, path):
    answer, text = asked(server, path.format(token=server.token, half=server.token[:-1]))
    known = path in ("/{token}/?x", "/{token}/#/../")  # the page, whatever follows
    assert answer.status == (200 if known else 404)
    assert known or text == "There is nothing here. See the address that `nngeom watch` printed."


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "CONNECT"])
def test_nothing_but_reading_is_understood(server, method):
    assert asked(server, f"/{server.token}/", method=method)[0].status == 501


@pytest.mark.parametrize("host", ["example.org", "example.org:80", "127.0.0.1", "127.0.0.1:1", "localhost.example.org"])
def test_a_name_that_leads_here_from_elsewhere_is_refused(server, host):
    answer, text = asked(server, f"/{server.token}/", host)
    assert answer.status == 421
    assert server.token not in text


def test_the_server_can_be_reached_from_this_machine_only_and_its_token_is_new_each_time(server, run):
    assert server.server_address[0] == "127.0.0.1"
    with page_server(run, unknown) as other:
        assert other.token != server.token
        assert len(other.token) >= 32


def test_a_page_is_made_once_for_each_state_of_the_run(run, monkeypatch):
    made = []
    with page_server(run, unknown) as server:
        monkeypatch.setattr(server, "data", lambda version: made.append(version) or version)
        first = version_of(run)
        assert server.newest() == server.newest() == first
        assert server.newest(first) is None
        (run / "run.json").touch()
        assert server.newest(first) == version_of(run) != first
    assert len(made) == 2


def test_a_run_that_has_not_started_and_one_that_is_damaged_have_an_answer(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    with page_server(directory, unknown) as server:
        assert json.loads(server.newest().text)["runs"] == []
        saved(tmp_path / "other", made_runs.plane(epochs=(0, 10), replicates=1)).rename(tmp_path / "whole")
        (tmp_path / "whole" / "run.json").rename(directory / "run.json")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        answer, text = asked(server, f"/{server.token}/data")
        server.shutdown()
        thread.join()
    assert answer.status == 503
    assert "must be" in text
    assert "\n" not in text


def test_a_wrong_port_is_refused(run, server, capsys):
    for port in ("0", "65536", "-1", str(server.server_port)):
        assert main(["watch", str(run), "--port", port]) == 2
        assert "`--port` must be" in capsys.readouterr().err
    assert main(["watch", str(run), str(run)]) == 2
    assert "must be followed by one run directory" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN], ids=["foreground", "background"])
def test_ctrl_c_stops_the_server_and_is_no_error(run, before):
    command = [sys.executable, "-m", "nngeom_cli", "watch", str(run)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, before),
    )
    address = urlsplit(process.stdout.readline())
    connection = HTTPConnection("127.0.0.1", address.port, timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().status == 404  # it serves
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    connection.close()
    assert (process.returncode, out, error) == (0, "", "")
