"""The page draws in a browser, from the disk, what the network draws in Python."""

import dataclasses

import numpy as np
import pytest
import torch

from gan_runner.export import load_exported, page
from gan_runner.export.layers import layers_of, run
from gan_runner.models.conditional import ConditionalGenerator
from gan_runner.record.pictures import to_uint8
from tests.export.test_page import NETWORKS, TRANSLATORS, describe, described, inputs_of, make_dcgan, make_mlp

pytest.importorskip("selenium")

from selenium.webdriver.common.action_chains import ActionChains
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


EXACT, *COARSER = page._PRECISIONS
WRITTEN = [(name, EXACT) for name in NETWORKS]
WRITTEN += [(name, precision) for precision in COARSER for name in NETWORKS if name not in list(TRANSLATORS)[1:]]


@pytest.mark.parametrize(("name", "precision"), WRITTEN, ids=lambda value: getattr(value, "name", value))
def test_the_forward_pass_equals_pythons_with_the_weights_of_the_page(browser, tmp_path, monkeypatch, name, precision):
    net, shape, description = described(name)
    monkeypatch.setattr(page, "_PRECISIONS", (precision,))
    page.write_page(tmp_path / "page.html", net, description)
    browser.get(f"file://{tmp_path}/page.html")
    _, rows = inputs_of(name, 2)
    x = run(precision.of(layers_of(tmp_path, net))[1], rows.double())
    channels, height, width = shape
    expected = to_uint8(x.view(2, height, width, channels).permute(0, 3, 1, 2)).astype(int)
    assert np.abs(drawn(browser, rows, shape) - expected).max() <= 1
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


def levels_on(browser, canvas, shape):
    channels, height, width = shape
    return np.array(browser.execute_script(PIXELS, canvas)).reshape(height, width, 4)[..., :channels]


def shows_soon(browser, canvas, expected):
    def shown(_):
        return np.abs(levels_on(browser, canvas, expected.shape[::-1][:1] + expected.shape[:2]) - expected).max() <= 1

    WebDriverWait(browser, 10).until(shown)


def written_to_draw_on(tmp_path, name, sources):
    net, shape, description = described(name)
    page.write_page(tmp_path / "page.html", net, description, (sources, None))

    def expected(source):
        return to_uint8(net(torch.from_numpy(source[None]).permute(0, 3, 1, 2) / 127.5 - 1))[0].astype(int)

    return expected, shape


def test_an_example_is_drawn_from_as_python_draws_from_it(browser, tmp_path):
    name = "unet of padded images"
    channels, height, width = TRANSLATORS[name][1]
    sources = np.random.default_rng(0).integers(0, 256, (3, height, width, channels), dtype=np.uint8)
    expected, _ = written_to_draw_on(tmp_path, name, sources)
    browser.get(f"file://{tmp_path}/page.html")
    buttons = browser.find_elements(By.CSS_SELECTOR, "#examples button")
    assert len(buttons) == 3
    for number in (0, 2):  # the first is there from the start
        buttons[number].click()
        shows_soon(browser, "#output", expected(sources[number]))
    browser.find_element(By.ID, "undo").click()
    shows_soon(browser, "#output", expected(sources[0]))


def test_a_visitor_draws_a_line_takes_it_back_and_clears(browser, tmp_path):
    name = "unet down to one pixel"
    paper = np.full((4, 16, 16, 1), 240, np.uint8)
    paper[:, 8, 8] = 0
    expected, _ = written_to_draw_on(tmp_path, name, paper)
    browser.get(f"file://{tmp_path}/page.html")
    browser.find_element(By.ID, "clear").click()
    shows_soon(browser, "#output", expected(np.full((16, 16, 1), 240, np.uint8)))
    canvas = browser.find_element(By.ID, "input")
    slider = browser.find_element(By.ID, "thickness")
    slider.send_keys(Keys.END)  # the thickest line, of 4 pixels
    down = ActionChains(browser, duration=20).move_to_element_with_offset(canvas, -100, 0).click_and_hold()
    down.move_by_offset(200, 0).release().perform()
    given = np.array(browser.execute_script("return Array.from(source())")).reshape(16, 16)
    levels = np.rint((given + 1) * 127.5).astype(np.uint8)
    assert (levels[7:9, 5:11] == 0).all(), "a black line on light paper"
    assert (levels[[0, 4, 11, 15]] == 240).all()
    shows_soon(browser, "#output", expected(levels[..., None]))
    browser.find_element(By.ID, "undo").click()
    shows_soon(browser, "#output", expected(np.full((16, 16, 1), 240, np.uint8)))


def test_a_visitor_chooses_the_direction_and_draws_with_the_other_network(browser, tmp_path):
    net, (drawn_channels, height, width), description = described("both ways")
    random = np.random.default_rng(0)
    there, back = (
        random.integers(0, 256, (2, height, width, channels), dtype=np.uint8)
        for channels in (TRANSLATORS["both ways"][1][0], drawn_channels)
    )
    page.write_page(tmp_path / "page.html", net, description, (there, back))
    browser.get(f"file://{tmp_path}/page.html")
    menu = Select(browser.find_element(By.ID, "direction"))
    assert [option.text for option in menu.options] == ["A to B", "B to A"]
    for direction, network, images in (
        ("A to B", net.to_images, there),
        ("B to A", net.to_sources, back),
        ("A to B", net.to_images, there),
    ):
        menu.select_by_visible_text(direction)
        for number in (0, 1):  # the first is there from the start
            if number:
                browser.find_elements(By.CSS_SELECTOR, "#examples button")[number].click()
            source = torch.from_numpy(images[number : number + 1]).permute(0, 3, 1, 2) / 127.5 - 1
            shows_soon(browser, "#output", to_uint8(network(source))[0].astype(int))
        assert browser.find_element(By.ID, "colours").is_displayed() == (images.shape[-1] == 3)


def test_a_page_without_images_of_the_data_begins_with_white_paper_and_offers_none(browser, tmp_path):
    name = "with patch features"
    net, _, description = described(name)
    page.write_page(tmp_path / "page.html", net, description)
    browser.get(f"file://{tmp_path}/page.html")
    assert set(browser.execute_script("return Array.from(source())")) == {1.0}
    for name in ("shown", "directions"):
        assert not browser.find_element(By.ID, name).is_displayed()
    assert browser.find_element(By.ID, "colour").is_displayed()


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
