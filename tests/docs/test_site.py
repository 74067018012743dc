"""The site in a browser: no error on any page, from the disk or a server; keys reach everything."""

import functools
import http.server
import logging
import threading

import pytest

from tests.align.report.browser import PHONE, WIDE, chromium
from tests.paths import ROOT

# By the clock: not beside its like.


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    logging.getLogger("mkdocs").setLevel(logging.ERROR)
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


@pytest.fixture(scope="module")
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


def load(browser, url, size=WIDE):
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.logs()
    return look(browser, url)


def look(browser, url):
    """Open another page in the window as it is; return what it put on the console."""
    browser.driver.get(url)
    browser.driver.execute_async_script("setTimeout(arguments[0], 150)")
    return browser.logs()[0]


def framed(browser, site, place, names):
    """Open pages in frames of one; return {page: what it put on the console}."""
    frames = "".join(f'<iframe src="{name}"></iframe>' for name in names)
    (site / "frames.html").write_text(f"<!doctype html><link rel=icon href=data:,>{frames}")
    if not look(browser, f"{place}frames.html"):
        return {}
    return {name: found for name in names if (found := look(browser, place + name))}


def test_no_page_has_an_error_on_its_console(browser, site, address):
    """All from the disk, where a missing file is an error too; one of each folder from a server."""
    pages = [page for page in sorted(site.rglob("*.html")) if page.name != "404.html"]
    assert len(pages) > 20
    served = {page.parent: page.relative_to(site).as_posix() for page in pages}
    assert len(served) > 2
    load(browser, "about:blank")
    names = [page.relative_to(site).as_posix() for page in pages]
    assert framed(browser, site, f"{site.as_uri()}/", names) == {}
    assert framed(browser, site, address, list(served.values())) == {}


@pytest.mark.parametrize("fault", ["<script src=gone.js></script>", "<script>gone()</script>"])
def test_a_page_with_an_error_is_told_among_others(browser, site, fault):
    names = ["index.html", "broken.html", "zh/index.html"]
    (site / "broken.html").write_text(f"<!doctype html><link rel=icon href=data:,>{fault}")
    load(browser, "about:blank")
    found = framed(browser, site, f"{site.as_uri()}/", names)
    (site / "broken.html").unlink()
    assert list(found) == ["broken.html"]


def test_a_page_fits_a_phone(browser, site, address):
    for name in ("index.html", "zh/align.html", "guide/reports.html", "zh/own_config.html"):
        load(browser, address + name, PHONE)
        assert not browser.overflows, name


def test_keys_reach_links_and_are_seen(browser, address):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    load(browser, address + "zh/index.html")
    seen, unmarked = set(), []
    for _ in range(60):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        focused = browser.driver.switch_to.active_element
        if focused.tag_name == "body":
            break
        seen.add(focused.get_attribute("href") or focused.tag_name)
        style = "const s = getComputedStyle(arguments[0]); return [s.outlineStyle, s.boxShadow]"
        if browser.js(style, focused) == ["none", "none"]:
            unmarked.append(focused.text)
    assert address + "zh/align.html" in seen
    assert unmarked == []
    assert browser.js("return document.documentElement.lang") == "zh-CN"


SEARCH = """
const done = arguments[0], box = document.querySelector("#mkdocs-search-query");
box.value = "concat";
const look = (left) => {
  box.dispatchEvent(new KeyboardEvent("keyup"));
  const found = document.querySelectorAll("#mkdocs-search-results article").length;
  if (found || !left) done(found); else setTimeout(look, 200, left - 1);
};
look(40);
"""


def test_the_search_finds_from_a_server(browser, address):
    load(browser, address + "index.html")
    assert browser.driver.execute_async_script(SEARCH) > 0
    assert browser.logs()[0] == []
