"""The page that draws: it reads sentences as the package does, its pictures are the package's, and it is easy to use.

What evaluates the network is npm's onnxruntime-web, which no test fetches: CS348K_ONNXRUNTIME_WEB names its folder.
"""

import functools
import http.server
import json
import random
import threading

import numpy as np
import pytest
import torch

from cs348k_diffusion import recipes
from cs348k_diffusion.authoring import site
from cs348k_diffusion.authoring.site import drawing
from cs348k_diffusion.authoring.site.drawing import runtime as npm
from cs348k_diffusion.data.pictures import WORDS, caption, parse, scene
from cs348k_diffusion.data.pictures.captions import INSTEAD
from cs348k_diffusion.recipes.pictures import TOKENIZER

pytestmark = pytest.mark.browser
LETTERS = "abcdefghilmnoprstuwy"
HEAVY = (".wasm", ".mjs", ".gz", "worker.js")
WORKER = """async ({ tokens, scale, steps, noise }) => {
  const worker = window.tested ??= new Worker("_static/drawing/worker.js", { type: "module" });
  const heard = (wanted) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => data.error ? reject(data.error) : wanted(data) && resolve(data);
  });
  if (!window.loaded) { worker.postMessage({ load: true }); await heard((data) => data.ready); window.loaded = true; }
  worker.postMessage({ job: 1, tokens, scale, steps, noise: [Float32Array.from(noise)] });
  return [...(await heard((data) => data.left === 0)).x];
}"""
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def sentences(n):
    """Captions of the world, and the same with what people do to them: a letter or a word is wrong, lost or moved."""
    rng, texts = random.Random(0), ["", "  ", "A Cat.", "a cat, at night!", "cats " * 25, *INSTEAD, "the two by"]
    texts += ["a cat left of two cats", "a cat by day under the moon", "two tall cats", "three cats above two trees"]
    for k in range(n):
        words = caption(scene(3, k), 3, k, k % 3).split()
        place = rng.randrange(len(words))
        word, letter = words[place], rng.choice(LETTERS)
        cut = rng.randrange(len(word))
        changed = [
            words,
            [*words[:place], *words[place + 1 :]],
            [*words[:place], word[:cut] + letter + word[cut + 1 :], *words[place + 1 :]],
            [*words[:place], word[:cut] + word[cut + 1 :], *words[place + 1 :]],
            [*words[:place], rng.choice([*WORDS, *INSTEAD]), *words[place:]],
            rng.sample(words, len(words)),
            [*words, *rng.sample(WORDS, 2)],
        ]
        texts += map(" ".join, changed)
    return texts


def read(text):
    """The tokens of a sentence, or what is wrong with it."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return TOKENIZER(text)[0].tolist()


def test_a_sentence_is_read_as_by_the_package(plain_page):
    texts = sentences(300)
    plain_page.page.add_script_tag(content=drawing.text_of("sentence.js"))
    run = """([grammar, texts]) => { const read = sentences(grammar).tokens;
      return texts.map((text) => { try { return read(text); } catch (error) { return error.message; } }); }"""
    got = plain_page.page.evaluate(run, [json.loads(json.dumps(drawing.grammar())), texts])
    want = [read(text) for text in texts]
    kinds = [what if isinstance(what, str) else "read" for what in want]
    for part in ("read", "nearest is", "the words are", "goes with", "cannot read", "different kinds", "too many"):
        assert any(part in kind for kind in kinds), f"no sentence that is: {part}"
    assert [pair for pair in zip(texts, got, want, strict=True) if pair[1] != pair[2]] == []


def test_noise_is_standard_normal_and_its_seed_decides(plain_page):
    source = json.dumps("data:text/javascript," + drawing.text_of("walk.js").replace("%", "%25").replace("#", "%23"))
    make = f"async (seeds) => {{ const {{ noise }} = await import({source}); return seeds.map((s) => [...noise(s)]); }}"
    first, again, second = np.array(plain_page.page.evaluate(make, [1, 1, 2]))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / len(first) ** 0.5
    many = np.array(plain_page.page.evaluate(make, list(range(40)))).ravel()
    bound = 4 / len(many) ** 0.5
    assert abs(many.mean()) < bound
    assert abs(many.var() - 1) < 2**0.5 * bound
    assert abs((many**4).mean() - 3) < 96**0.5 * bound
    assert abs(np.corrcoef(many[1:], many[:-1])[0, 1]) < bound


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A site with the page, where the runtime is there."""
    found = npm.find()
    if found is None:
        pytest.skip(f"no onnxruntime-web: {npm.HOW}; CS348K_ONNXRUNTIME_WEB names it to the tests")
    out = tmp_path_factory.mktemp("drawing") / "pages"
    assert site.build(out, which=("00",), runtime=found) == []
    return out


@pytest.fixture(scope="module")
def address(folder):
    """The folder, served from this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/draw.html"
        server.shutdown()


@pytest.fixture(params=["light", "dark"])
def phone(browser, request):
    """A phone in someone's hand, and what it has asked for."""
    place = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=request.param)
    page = place.new_page()
    page.asked, page.errors = [], []
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    assert page.errors == []
    place.close()


def drawn(page, act):
    """Do this, and wait for the pictures; the first picture as an address."""
    page.evaluate("() => { delete document.getElementById('drawing').dataset.state }")
    act()
    page.wait_for_selector("form[data-state=drawn]", timeout=120_000)
    return page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()")


def test_its_pictures_are_the_packages(browser, address):
    draw, page = recipes.load_pipeline("pictures_fast"), browser.new_page()
    page.goto(address)
    for k, (text, steps, scale) in enumerate(
        [("a cat", 1, 1.0), ("two red houses by day", 2, 3.0), ("a small orange cat left of a pine tree", 4, 6.0)]
    ):
        want = draw.images([text], scale, seed=k, steps=steps)[0].flatten()
        noise = draw.model.schedule.prior((1, *draw.shape), torch.Generator().manual_seed(k))
        given = {"tokens": TOKENIZER(text)[0].tolist(), "scale": scale, "steps": steps}
        got = torch.tensor(page.evaluate(WORKER, {**given, "noise": noise.flatten().tolist()}))
        assert float((got - want).abs().max()) < 1e-3, text
    page.close()


def test_it_loads_by_a_click_and_draws_what_is_typed(phone, address, axe):
    phone.goto(address)
    assert [url for url in phone.asked if url.endswith(HEAVY)] == []
    assert axe(phone) == []
    load = phone.get_by_role("button", name="Load the model, 19 MB")
    first = drawn(phone, lambda: load.press("Enter"))
    assert phone.evaluate("() => document.activeElement.id") == "drawing-sentence"
    assert all(any(url.endswith(each) for url in phone.asked) for each in HEAVY)
    assert all(url.startswith(address.rpartition("/")[0]) for url in phone.asked)
    sentence = phone.get_by_label("Sentence")
    assert drawn(phone, lambda: sentence.fill("a blue house")) != first
    assert phone.get_by_role("img", name="picture 1: a blue house").count() == 1
    for change in (
        lambda: phone.get_by_label("Evaluations").select_option("4"),
        lambda: phone.get_by_label("Guidance").press("End"),
        lambda: phone.get_by_role("button", name="Other noise").press("Enter"),
    ):
        before = phone.locator("canvas").first.evaluate("canvas => canvas.toDataURL()")
        assert drawn(phone, change) != before
    assert phone.get_by_role("status").inner_text().startswith("Four pictures, 4 evaluations each")
    assert phone.evaluate(SIDEWAYS) == 0
    assert axe(phone) == []


def test_it_says_what_is_wrong_with_a_sentence(phone, address):
    phone.goto(address)
    drawn(phone, lambda: phone.get_by_role("button", name="Load").click())
    phone.get_by_label("Sentence").fill("a purpel cat")
    phone.wait_for_selector("form[data-state=wrong]")
    assert phone.get_by_role("status").inner_text() == read("a purpel cat")
    assert phone.get_by_label("Sentence").get_attribute("aria-invalid") == "true"
    drawn(phone, lambda: phone.get_by_label("Sentence").fill("a purple cat"))
    assert phone.get_by_label("Sentence").get_attribute("aria-invalid") == "false"


def test_a_file_that_is_not_there_is_named(phone, address):
    phone.route("**/student.onnx.gz", lambda route: route.fulfill(status=404))
    phone.goto(address)
    phone.get_by_role("button", name="Load").click()
    phone.wait_for_function("() => document.getElementById('drawing-said').textContent")
    assert phone.get_by_role("status").inner_text() == (
        "The model could not be loaded: student.onnx.gz: the server says 404"
    )
    assert phone.get_by_role("button", name="Load").is_visible()


def test_from_disk_it_says_how_to_serve_the_folder(phone, folder):
    phone.goto((folder / "draw.html").as_uri())
    assert phone.get_by_text("python -m http.server 8000").is_visible()
    assert phone.get_by_role("button", name="Load").is_disabled()
    assert phone.evaluate(SIDEWAYS) == 0
