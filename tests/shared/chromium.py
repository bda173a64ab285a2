"""A headless Chromium, spoken to through a pipe in its DevTools protocol."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-default-apps", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
    "--remote-debugging-pipe",
]
PATIENCE = 60  # seconds, on a machine with other work


class Chromium:
    """One window.

    Args:
        profile: a new folder for what the browser keeps.

    Attributes:
        complaints: what its console said, exceptions among it, and what the Content-Security-Policy refused.
    """

    def __init__(self, profile: Path):
        ours, theirs = os.pipe(), os.pipe()  # what we write, what it writes
        reads, writes = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (ours[0], theirs[1]))
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]

        def connect():  # Chromium reads from descriptor 3 and writes to 4
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        with (profile.parent / "chromium.log").open("wb") as log:
            self.process = subprocess.Popen(command, close_fds=False, preexec_fn=connect, stdout=log, stderr=log)
        for end in (ours[0], theirs[1], reads, writes):
            os.close(end)
        self._to, self._from = ours[1], theirs[0]
        self._rest, self._count, self._session = b"", 0, None
        self.complaints, self._asked = [], {}
        (target,) = [each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    @property
    def asked(self):
        """Addresses that the page has asked for; those that its policy forbids are not among them."""
        return list(self._asked.values())

    def call(self, method, **parameters):
        """What a command of the protocol answers."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _next(self):
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0, until - time.monotonic()))
            assert ready, "Chromium does not answer"
            part = os.read(self._from, 2**20)
            assert part, "Chromium has ended"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        event = json.loads(text)
        about, method = event.get("params", {}), event.get("method")
        if method == "Runtime.exceptionThrown":
            self.complaints.append(about["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append([each.get("value") for each in about["args"]])
        elif method == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self._asked[about["requestId"]] = about["request"]["url"]
        elif method == "Network.loadingFailed" and about.get("blockedReason"):
            self._asked.pop(about["requestId"], None)  # nothing was sent
        return event

    def value(self, script):
        """The value of an expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script):
        """Waits until an expression is true."""
        until = time.monotonic() + PATIENCE
        while not self.value(script):
            assert time.monotonic() < until, f"never true: {script}; {self.complaints}"
            time.sleep(0.02)

    def open(self, address, width=1200, height=900, ready="document.body?.dataset.drawn !== undefined"):
        """Opens an address in a window of that size, and waits until the page is ready."""
        self.complaints.clear()
        self._asked.clear()
        phone = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.call("Page.navigate", url=address)
        self.wait_for(f"document.readyState === 'complete' && location.href !== 'about:blank' && ({ready})")

    def press(self, key):
        """A key, on what has the focus."""
        codes = {"ArrowLeft": 37, "ArrowRight": 39, "ArrowUp": 38, "ArrowDown": 40, "Home": 36, "End": 35, "Tab": 9}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def point_at(self, selector, across=0.5, down=0.5):
        """Moves the pointer to a part of an element."""
        self.value(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.value(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        x, y = box["x"] + across * box["width"], box["y"] + down * box["height"]
        for shift in (3, 0):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + shift, y=y + shift)

    def choose(self, selector, value):
        """Chooses an option of a menu, or sets a slider or a box, as a reader would."""
        script = """((selector, value) => {
            const control = document.querySelector(selector);
            if (control.type === "checkbox") control.checked = value; else control.value = value;
            for (const kind of ["input", "change"]) control.dispatchEvent(new Event(kind, { bubbles: true }));
            return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(true), 0)));
        })"""
        self.value(f"{script}({json.dumps(selector)}, {json.dumps(value)})")

    def picture(self, path, whole=True):
        """A screenshot, of the whole page or of the window."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize" if whole else "cssVisualViewport"]
        sides = {name: size.get(name) or size[f"client{name.title()}"] for name in ("width", "height")}
        clip = {"x": 0, "y": 0, "scale": 1, **sides}
        more = {"clip": clip, "captureBeyondViewport": True} if whole else {}
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **more)["data"]))

    def close(self):
        try:
            self._session = None
            self.call("Browser.close")
            self.process.wait(PATIENCE)
        finally:
            os.close(self._to)
            os.close(self._from)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
