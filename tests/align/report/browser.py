"""Headless Chromium for the tests of pages; they skip with a reason where it is missing."""

import json
import shutil
from contextlib import contextmanager

import pytest

WIDE, PHONE = (1440, 900), (390, 844)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en",
)
MISSING = "needs chromium and its driver: apt-get install chromium chromium-driver"


@contextmanager
def chromium(profile):
    """Give a driver with an own empty `profile` folder."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip(MISSING)
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra `test`")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=Service(programs[1]), options=options)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """A driver, and what the tests ask of a page."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, size=WIDE, dark=False):
        """Open a file at a size of (width, height) pixels and wait until it is drawn."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get("about:blank")
        self.logs()
        self.driver.get(path.as_uri())
        self.driver.execute_script("localStorage.clear()")
        self.driver.refresh()
        assert self.js("return document.documentElement.dataset.ready") == "true"

    def js(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def find(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        (found,) = self.find(selector)
        return found

    def click(self, selector):
        """Click the only match, as a person does: it must be visible."""
        element = self.one(selector)
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def logs(self):
        """Return (console's errors and warnings, addresses asked for) since the last call."""
        entries = self.driver.get_log("browser")
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(message["params"]["request"]["url"])
        loud = [entry["message"] for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]
        outside = [url for url in asked if url.split(":")[0] not in {"file", "data", "chrome"}]
        return loud, [url for url in outside if url != "about:blank"]

    @property
    def overflows(self):
        """Tell whether the page is wider than the window."""
        return self.js("return document.documentElement.scrollWidth > innerWidth")
