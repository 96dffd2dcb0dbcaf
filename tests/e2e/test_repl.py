"""The REPL in a real terminal (tmux): typing, completing, cancelling, watching. Screens are polled, never slept for."""

import itertools
import os
import re
import shlex
import subprocess
import time

import pytest
from support import ADLAKE, Server, location

SECONDS = 60
# A server of tmux that was killed may still hold its socket.
COUNTER = itertools.count()
ENDLESS = "SELECT count(*) FROM generate_series(1, 900000000000);"


class Terminal:
    """A program in a terminal of 110 x 40 characters, on a tmux server of its own."""

    def __init__(self, name, command, folder):
        self.socket = f"adlake-{os.getpid()}-{name}-{next(COUNTER)}"
        shell = f"trap : INT; {command}; echo \"ended with $?\"; exec cat"
        environment = [f"XDG_DATA_HOME={folder}/data", "TERM=screen-256color"]
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "40", "-c", str(folder),
                  "env", *environment, "sh", "-c", shell)

    def tmux(self, *arguments):
        done = subprocess.run(["tmux", "-L", self.socket, *arguments], check=True, capture_output=True, text=True)
        return done.stdout

    def type(self, text):
        # A trailing ; would end tmux's own command.
        self.tmux("send-keys", "-l", text[:-1] + "\\;" if text.endswith(";") else text)
        # rustyline 17 asks the terminal although keys are in its buffer, so text that comes at once may wait for the next key.
        squeezed = "".join(text.split())
        end = time.monotonic() + SECONDS
        while not "".join(self.screen().split()).endswith(squeezed):
            assert time.monotonic() < end, f"{text} is not taken\n{self.screen()}"
            time.sleep(0.05)
            self.press("C-e")

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def enter(self, text, begins=True):
        """A line; `begins` a statement: what is typed before the prompt is there may be lost."""
        if begins:
            self.wait(ended)
        self.type(text)
        self.press("Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p").rstrip()

    def clear(self):
        """Ctrl-L: the prompt on an empty screen."""
        self.wait(ended)
        self.press("C-l")
        self.wait(lambda screen: screen.startswith("adlake>") and screen.count("\n") == 0)

    def wait(self, condition):
        """Waits until `condition` (a text to be seen, or a function of the screen) holds; returns the screen."""
        holds = condition if callable(condition) else lambda screen: condition in screen
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            screen = self.screen()
            if holds(screen):
                return screen
            time.sleep(0.02)
        raise AssertionError(f"never seen: {condition}\n--- screen:\n{self.screen()}")

    def close(self):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repl")
    create = ("CREATE TABLE repl_clicks (event_id VARCHAR NOT NULL, country VARCHAR); "
              "INSERT INTO repl_clicks VALUES ('a', 'KR'), ('b', NULL)")
    subprocess.run([ADLAKE, "sql", "--lake", location(folder / "lake"), "-c", create], check=True, capture_output=True)
    with Server(folder / "lake") as server:
        yield folder, server


@pytest.fixture(params=["embedded", "remote"])
def terminal(request, lake):
    folder, server = lake
    place = ["--lake", location(folder / "lake")] if request.param == "embedded" else ["--url", server.flight_url]
    running = Terminal(request.param, shlex.join([ADLAKE, "sql", *place]), folder)
    running.wait("adlake>")
    yield running
    running.close()


def ended(screen):
    """Back at an empty prompt."""
    return screen.endswith("adlake>")


def test_a_statement_may_span_lines_and_is_one_entry_of_history(terminal):
    terminal.enter("SELECT country")
    terminal.enter("FROM repl_clicks ORDER BY 1;", begins=False)
    screen = terminal.wait("(2 rows)")
    assert " KR" in screen and " NULL" in screen
    terminal.clear()
    terminal.press("Up")
    screen = terminal.wait("ORDER BY 1;")
    assert "SELECT country" in screen, "the whole statement comes back"


def test_tab_completes_keywords_tables_and_columns(terminal):
    def completed(text, whole):
        # Names are fetched beside the prompt: try again until they are there.
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            terminal.clear()
            terminal.type(text)
            terminal.press("Tab")
            time.sleep(0.1)
            if whole in terminal.screen():
                terminal.press("C-c")
                terminal.wait(ended)
                return
            terminal.press("C-c")
        raise AssertionError(f"{text} did not become {whole}\n{terminal.screen()}")

    completed("SEL", "SELECT")
    completed("SELECT * FROM repl_", "FROM repl_clicks")
    completed("SELECT * FROM repl_clicks WHERE countr", "WHERE country")
    completed("\\ti", "\\timing")


def test_ctrl_c_cancels_the_query_and_keeps_the_session(terminal):
    terminal.clear()
    terminal.enter(ENDLESS)
    terminal.wait(lambda screen: re.search(r"\d\.\d s$", screen))
    terminal.press("C-c")
    terminal.wait(lambda screen: "cancelled" in screen and ended(screen))
    terminal.enter("SELECT 40 + 2 AS still_here;")
    screen = terminal.wait("(1 row)")
    assert "42" in screen
    # Nothing keeps running behind; a server learns of it from the stream that was reset.
    for asked in range(6):
        terminal.enter("SELECT count(*) AS running_now FROM system.queries WHERE state = 'running' AND sql LIKE '%900000000000%' AND sql NOT LIKE '%running_now%';")
        screen = terminal.wait(lambda screen: screen.count("(1 row)") == asked + 2)
        if screen.splitlines()[-3].strip() == "0":
            return
        time.sleep(2)
    raise AssertionError(f"still running\n{screen}")


def test_ctrl_c_at_the_prompt_forgets_the_line_and_an_error_keeps_the_session(terminal):
    terminal.clear()
    terminal.type("SELECT nothing")
    terminal.press("C-c")
    terminal.wait(ended)
    terminal.enter("SELECT * FROM repl_clickz;")
    screen = terminal.wait("did you mean 'repl_clicks'?")
    assert "error:" in screen
    terminal.wait(ended)


def test_watch_repeats_until_ctrl_c(terminal):
    terminal.clear()
    terminal.enter("\\watch 0.1 SELECT count(*) AS n FROM repl_clicks")
    terminal.wait(lambda screen: screen.count("(1 row)") >= 3)
    terminal.press("C-c")
    terminal.wait(ended)


def test_settings_and_listings(terminal):
    terminal.clear()
    terminal.enter("\\timing on")
    terminal.enter("\\x on")
    terminal.enter("SELECT event_id FROM repl_clicks WHERE country = 'KR';")
    screen = terminal.wait("data as of 20")
    assert "-[ row 1 ]-" in screen and "event_id | a" in screen
    terminal.enter("\\x off")
    terminal.clear()
    terminal.enter("\\d repl_clicks")
    screen = terminal.wait("CREATE TABLE repl_clicks")
    assert "country" in screen and "VARCHAR" in screen
    terminal.enter("\\format nonsense")
    terminal.wait("unknown format 'nonsense'")


def test_leaving_ends_with_success(terminal):
    terminal.enter("\\q")
    terminal.wait("ended with 0")


def test_ctrl_c_ends_a_script_with_130(lake):
    folder, _ = lake
    command = shlex.join([ADLAKE, "sql", "--lake", location(folder / "lake"), "-c", ENDLESS, "-c", "SELECT 'not reached'"])
    terminal = Terminal("script", command, folder)
    try:
        terminal.wait(lambda screen: " s" in screen)
        terminal.press("C-c")
        screen = terminal.wait("ended with 130")
        assert "not reached" not in screen
    finally:
        terminal.close()
