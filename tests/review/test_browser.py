"""A whole session at the keyboard, in a real browser: fifty corrections, killed half way and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from doubts import make_results

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytest.importorskip("uvicorn", reason="the extra review is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM or not DRIVER, reason="no chromium with its driver here"),
]
PATIENCE = 120.0


@pytest.fixture
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def serve(tmp_path):
    """Start ``ocrcc review`` and return its process and the page's address."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "ocrcc", "review", *arguments]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        for line in process.stderr:
            if line.startswith("open "):
                return process, line.split()[1]
        raise AssertionError("it did not start")

    yield start
    for process in started:
        process.kill()
        process.communicate()


def decisions(folder):
    lines = (folder / "decisions.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    return [json.loads(line) for line in lines]


def wait(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def press(browser, *keys, held=""):
    """Press keys one after the other, with another one held down meanwhile if so said."""
    chain = webdriver.ActionChains(browser)
    if held:
        chain = chain.key_down(held)
    chain = chain.send_keys(*keys)
    (chain.key_up(held) if held else chain).perform()


def shown(browser):
    """Look at the page in one go: elements that are asked one by one may be gone in between."""
    return browser.execute_script(
        """
        const all = (selector) => [...document.querySelectorAll(selector)];
        return {
            busy: document.body.getAttribute("aria-busy") !== "false",
            name: document.getElementById("name").innerText.split(" ")[0],
            position: all("#text span").findIndex((cell) => cell.classList.contains("now")),
            buttons: all("#choices button").map((button) => button.innerText.split("\\n")),
            nothing: document.getElementById("nothing").offsetParent !== null,
        };
        """
    )


def work(browser, folder, truths, count):
    """Mend so many characters as a person does who knows the truth: by number, by typing, or as they are."""
    for _ in range(count):
        before = len(decisions(folder))
        wait(lambda: _asks(shown(browser)), "no question is shown")
        page = shown(browser)
        asked = page["name"], page["position"]
        right = truths[page["name"]][page["position"]]
        key = next((button[1] for button in page["buttons"] if button[0] == right and len(button) > 1), "")
        if key == "Enter":
            press(browser, Keys.ENTER)
        elif key == "Shift Enter":
            press(browser, Keys.ENTER, held=Keys.SHIFT)
        elif key:
            press(browser, key)
        else:
            press(browser, *([Keys.SPACE] if right.isdigit() else []), right, Keys.ENTER)
        wait(lambda: len(decisions(folder)) > before, f"{asked} was not decided")  # noqa: B023
        wait(lambda: _asks_else(shown(browser), asked), "the next question did not appear")  # noqa: B023


def _asks(page):
    """Whether a question is shown and the page takes keys: while an answer is on its way it takes none."""
    return not page["busy"] and page["position"] >= 0


def _asks_else(page, asked):
    return page["nothing"] or (_asks(page) and (page["name"], page["position"]) != asked)


@pytest.mark.timeout(900)
def test_fifty_corrections_at_the_keyboard(tmp_path, serve, browser):
    rng = np.random.default_rng(5)
    twins = {"0": "O", "1": "I", "5": "S", "8": "B"}
    lines, truths = [], {}
    for number in range(26):
        truth = "".join(rng.choice(list("015823467"), 6))
        wrong = sorted(rng.choice(6, 2, replace=False).tolist())
        read = "".join(twins.get(char, "Z") if at == wrong[0] else char for at, char in enumerate(truth))
        given = {wrong[0]: truth[wrong[0]] + "Q"} if number % 2 else {}  # the others have to be typed
        lines.append((truth, read, {wrong[0]: 0.3 + number / 100, wrong[1]: 0.8}, given))
        truths[f"lines/{number:03d}.png"] = truth
    lines.append(("<b>&amp;", "<b>&amq;", {6: 0.85}, {6: "p"}))
    truths["lines/026.png"] = "<b>&amp;"
    results = make_results(tmp_path, lines)
    folder = tmp_path / "corrections"

    process, address = serve(results.name)
    browser.get(address)
    work(browser, folder, truths, 25)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(decisions(folder)) == 25

    press(browser, Keys.ENTER)
    wait(lambda: browser.find_element(By.ID, "message").is_displayed(), "that it is gone was not said")

    process, address = serve(results.name)
    second = subprocess.run(
        [sys.executable, "-m", "ocrcc", "review", results.name], cwd=tmp_path, capture_output=True, text=True
    )
    assert second.returncode == 2
    assert "another ocrcc is writing there" in second.stderr
    browser.get(address)
    work(browser, folder, truths, 25)
    press(browser, "z", held=Keys.CONTROL)
    wait(lambda: "undo" in decisions(folder)[-1], "nothing was undone")
    work(browser, folder, truths, 4)

    wait(lambda: browser.find_element(By.ID, "nothing").is_displayed(), "the end was not said")
    browser.find_element(By.ID, "finish").click()
    assert process.wait(PATIENCE) == 0
    assert "27 finished lines" in process.stderr.read()
    made = dict(row.split("\t") for row in (folder / "labels.tsv").read_text(encoding="utf-8").splitlines())
    assert sorted(made.values()) == sorted(truths.values())
    assert all((folder / image).is_file() for image in made)
    assert [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]] == []
