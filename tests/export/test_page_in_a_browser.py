"""The page draws in a browser, from the disk, what the network draws in Python."""

import dataclasses

import numpy as np
import pytest
import torch

from gan_runner.export import load_exported, page
from gan_runner.models.conditional import ConditionalGenerator
from gan_runner.record.pictures import to_uint8
from tests.export.test_page import NETWORKS, describe, make_dcgan, make_mlp

pytest.importorskip("selenium")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.browser import errors, started

PIXELS = """
const canvas = document.querySelector(arguments[0]);
return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with started(tmp_path_factory.mktemp("browser")) as driver:
        yield driver
        assert errors(driver) == []


def drawn(browser, latents, shape):
    channels, height, width = shape
    script = "return arguments[0].map((latent) => Array.from(imageOf(latent)))"
    return np.array(browser.execute_script(script, latents.tolist())).reshape(-1, height, width, channels)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", page._PRECISIONS, ids=lambda precision: precision.name)
def test_the_forward_pass_equals_pythons_with_the_weights_of_the_page(browser, tmp_path, monkeypatch, name, precision):
    net, shape = NETWORKS[name]
    monkeypatch.setattr(page, "_PRECISIONS", (precision,))
    page.write_page(tmp_path / "page.html", net, describe(shape))
    browser.get(f"file://{tmp_path}/page.html")
    latents = torch.randn(2, 6)
    x = latents.double()
    for layer in page.layers_of(tmp_path, net):
        x = precision.written(layer)[1].run(x)
    channels, height, width = shape
    expected = to_uint8(x.view(2, height, width, channels).permute(0, 3, 1, 2))
    assert np.abs(drawn(browser, latents, shape) - expected).max() <= 1
    assert browser.title == "Drawn by a network: </script><b>"


CLASSES = ("cat", "</script><b>", "dog")


@pytest.mark.parametrize("make", [make_mlp, make_dcgan])
def test_a_visitor_chooses_a_class_by_name_and_gets_pythons_images_of_it(browser, tmp_path, make):
    shape = (1, 8, 12)

    def sized(image_shape, latent_dim):
        assert latent_dim == 6, "as the networks of this test are made"
        return make(image_shape)

    net = ConditionalGenerator(sized, shape, 4, len(CLASSES), 2).eval()
    latent = {"_target_": "gan_runner.objectives.latents.Normal", "dim": 4, "std": 1.0}
    by_class = {"conditioning": "projection", "embedding_dim": 2}
    described = dataclasses.replace(describe(shape, latent), classes=CLASSES, conditioning=by_class)
    page.write_page(tmp_path / "page.html", net, described)
    browser.get(f"file://{tmp_path}/page.html")
    menu = Select(browser.find_element(By.ID, "class"))
    assert [option.text for option in menu.options] == list(CLASSES)
    latents, seen = torch.randn(2, 4), []
    for number, name in enumerate(CLASSES):
        before = browser.execute_script(PIXELS, "#grid button canvas")
        menu.select_by_visible_text(name)
        with torch.no_grad():
            expected = to_uint8(net(latents, torch.full((2,), number))).astype(int)
        assert np.abs(drawn(browser, latents, shape) - expected).max() <= 1
        seen.append(expected)
        if number:  # the first is chosen already
            WebDriverWait(browser, 10).until(
                lambda _, before=before: browser.execute_script(PIXELS, "#grid button canvas") != before
            )
    assert np.abs(seen[0] - seen[1]).max() > 1, "the class matters"


def test_a_page_of_a_generator_without_classes_has_no_menu_of_them(browser, tmp_path):
    page.write_page(tmp_path / "page.html", make_mlp((1, 8, 12)), describe((1, 8, 12)))
    browser.get(f"file://{tmp_path}/page.html")
    assert not browser.find_element(By.ID, "class").is_displayed()


def test_a_page_shows_transparency(browser, tmp_path):
    shape = (4, 3, 4)
    net = make_mlp(shape)
    with torch.no_grad():
        opacity = list(net.parameters())[-1].view(shape)[3]
        opacity[:, :2], opacity[:, 2:] = -1e3, 1e3
    page.write_page(tmp_path / "page.html", net, describe(shape))
    browser.get(f"file://{tmp_path}/page.html")
    opaque = np.array(browser.execute_script(PIXELS, "#left")).reshape(shape[1], shape[2], 4)[..., 3]
    assert (opaque == [0, 0, 255, 255]).all()


def test_a_visitor_draws_images_and_moves_between_latents(browser, exported_as, exported):
    browser.get(f"file://{exported_as('.html')}")
    cells = browser.find_elements(By.CSS_SELECTOR, "#grid button")
    assert len(cells) == 16
    WebDriverWait(browser, 10).until(lambda _: any(browser.execute_script(PIXELS, "#grid button:last-child canvas")))
    latents = torch.randn(3, 100)
    expected = to_uint8(load_exported(exported).net(latents)).astype(int)
    assert np.abs(drawn(browser, latents, (1, 28, 28)) - expected).max() <= 1

    def shows(one, other):
        return browser.execute_script(PIXELS, one) == browser.execute_script(PIXELS, other)

    assert shows("#between", "#left")
    assert not shows("#left", "#right")
    slider = browser.find_element(By.ID, "place")
    slider.send_keys(Keys.END)
    WebDriverWait(browser, 10).until(lambda _: shows("#between", "#right"))
    cells[5].click()
    assert shows("#right", "#grid button:nth-child(6) canvas")
    assert shows("#between", "#right")
    before = browser.execute_script(PIXELS, "#grid button canvas")
    browser.find_element(By.ID, "more").click()
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script(PIXELS, "#grid button canvas") != before)
    browser.find_element(By.ID, "ends").click()
    slider.send_keys(Keys.HOME)
    WebDriverWait(browser, 10).until(lambda _: shows("#between", "#left"))
