"""JupyterLab on a folder of its own, and a browser to open it in."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import quote

import nbformat
import pytest

from browser import chromium_or_skip
from rag_helpers.widget_pictures import CHROMIUM_FLAGS

START_SECONDS = 90
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    # Draw all cells, also those that no screen would show yet.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
# What JupyterLab shows in place of a widget or an output that it cannot show.
COMPLAINTS = [
    "Error displaying widget",
    "model not found",
    "Error creating widget",
    "Loading widget...",
    "Javascript Error",
]
# In texts and in outputs, but not among the buttons.
IMAGES = ".jp-RenderedHTMLCommon img, .jp-RenderedImage img"


class Lab:
    """A running JupyterLab.

    `folder` is what it serves; notebooks put there can be opened. `progress` is where its
    kernels keep which exercises are done.
    """

    def __init__(self, folder, address, token):
        self.progress = folder.parent / "progress.json"
        self.folder, self.address, self.token = folder, address, token

    def trust(self, name):
        """Sign a notebook, as JupyterLab does with those that its reader has run."""
        from nbformat.sign import NotebookNotary

        notary = NotebookNotary(data_dir=str(self.folder.parent / "data"))
        notary.sign(nbformat.read(self.folder / name, as_version=4))

    def get(self, path):
        """Ask the server itself, past the page."""
        with self._ask(path, "GET", seconds=5) as reply:
            return json.load(reply)

    def _ask(self, path, method, seconds):
        request = urllib.request.Request(
            f"{self.address}{path}",
            headers={"Authorization": f"token {self.token}"},
            method=method,
        )
        return urllib.request.urlopen(request, timeout=seconds)

    def end_kernels(self):
        """End the kernels: they keep models in memory, and some of them a cluster at work."""
        for session in self.get("/api/sessions"):
            self._ask(f"/api/sessions/{session['id']}", "DELETE", seconds=30).close()

    def open(self, page, name):
        """Open a notebook in the page, and wait until its kernel is idle."""
        page.goto(f"{self.address}/lab/tree/{quote(name)}?token={self.token}&reset")
        page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=60_000
        )
        # Run earlier than this, "Run all" stops at a dialogue that asks for a kernel.
        page.evaluate(
            """async () => {
                const app = window.jupyterapp;
                await app.restored;
                const { context, sessionContext } = app.shell.currentWidget;
                await context.ready;
                await sessionContext.ready;
            }"""
        )
        page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.sessionContext"
            ".session?.kernel?.status === 'idle'",
            timeout=60_000,
        )

    def run_all(self, page):
        """Start all cells, and do not wait for them."""
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")


def faults(page, seconds=10):
    """Return what is broken in the open notebook; images get some seconds to load."""
    look = """([complaints, images_in]) => {
        const { content } = window.jupyterapp.shell.currentWidget;
        const images = [...content.node.querySelectorAll(images_in)];
        const cells = content.widgets.filter((cell) => cell.outputArea);
        return [
            ...complaints.filter((complaint) => content.node.textContent.includes(complaint)),
            ...images.filter((image) => !(image.complete && image.naturalWidth > 0))
                     .map((image) => `broken image ${image.src.slice(0, 80)}`),
            ...cells.map((cell) => cell.outputArea)
                    .filter((area) => area.model.length
                            > area.node.querySelectorAll('.jp-OutputArea-output').length)
                    .map((area) => 'output not shown'),
        ];
    }"""
    # Widgets that have no model complain once the kernel has answered.
    page.wait_for_timeout(1500)
    deadline = time.monotonic() + seconds
    while (found := page.evaluate(look, [COMPLAINTS, IMAGES])) and time.monotonic() < deadline:
        page.wait_for_timeout(500)
    return found


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """JupyterLab on an empty folder; its settings and files are temporary."""
    chromium_or_skip()  # before JupyterLab is started in vain
    home = tmp_path_factory.mktemp("jupyter")
    overrides = home / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps(SETTINGS), encoding="utf-8")
    folder = home / "notebooks"
    folder.mkdir()
    port, token = _free_port(), secrets.token_hex(16)
    command = [
        *[sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"],
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True",
        "--LanguageServerManager.autodetect=False",
        f"--ServerApp.root_dir={folder}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    places = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    variables = {
        **os.environ,
        **{f"JUPYTER_{name}": str(home / place) for name, place in places.items()},
        "IPYTHONDIR": str(home / "ipython"),
        "RAG_PROGRESS": str(home / "progress.json"),
    }
    (home / "ipython").mkdir()
    log = home / "log.txt"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=variables, stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd=home
        )
    try:
        running = Lab(folder, f"http://127.0.0.1:{port}", token)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                running.get("/api/status")
                break
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.3)
        yield running
    finally:
        process.terminate()  # kernels are shut down with it
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def lab(server):
    """JupyterLab without a kernel from an earlier test."""
    yield server
    server.end_kernels()


@pytest.fixture
def page():
    """A page of a browser that has seen nothing yet.

    Playwright allows itself once in a process: it must not outlast the test, or building a
    notebook in the next one could take no pictures.
    """
    chromium = chromium_or_skip()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium), args=list(CHROMIUM_FLAGS)
        )
        yield browser.new_page(viewport={"width": 1200, "height": 1000})
        browser.close()
