"""Chromium told what to do through a pipe (the DevTools protocol), as a person would: keys and looks."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)


class Browser:
    """One tab."""

    def __init__(self, sent, received):
        self._sent, self._received, self._number, self._session = sent, received, 0, None
        self.complaints = []
        """What the console says, and exceptions of the page."""

    def __call__(self, method, **params):
        self._number += 1
        own = {"id": self._number, "method": method, "params": params}
        if self._session:
            own["sessionId"] = self._session
        os.write(self._sent, json.dumps(own).encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(answer["params"])

    def _read(self):
        found = bytearray()
        while (byte := os.read(self._received, 1)) != b"\0":
            assert byte, "the browser has ended"
            found += byte
        return found

    def open(self, url):
        (target, *_) = [one for one in self("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        self._session = self("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")
        self("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def value(self, expression):
        found = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression, seconds=60):
        deadline = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < deadline, (expression, self.value("document.body.innerText"), self.complaints)
            time.sleep(0.05)
        return found

    def type(self, text):
        self("Input.insertText", text=text)

    def press(self, key, code, **more):
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text, **more)

    def look(self, path, *, dark=False, width=1100, height=800):
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self("Emulation.setEmulatedMedia", features=scheme)
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


def _high(pipe):
    """The ends of a pipe under numbers that are not those which the browser takes."""
    found = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in pipe]
    for end in pipe:
        os.close(end)
    return found


@contextmanager
def browser(folder):
    """A headless browser."""
    assert BROWSER is not None, "install chromium"
    (their_in, our_out), (our_in, their_out) = _high(os.pipe()), _high(os.pipe())
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    flags += ["--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "about:blank"]
    # the browser reads at 3 and writes at 4
    command = ["bash", "-c", f'exec "$@" 3<&{their_in} 4>&{their_out}', "bash", BROWSER, *flags]
    process = subprocess.Popen(command, pass_fds=(their_in, their_out), stderr=subprocess.DEVNULL)
    os.close(their_in)
    os.close(their_out)
    try:
        yield Browser(our_out, our_in)
    finally:
        process.terminate()
        process.wait(timeout=30)
        os.close(our_out)
        os.close(our_in)
