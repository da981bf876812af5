"""Data: exact counts, honest shuffles, and errors that say what to do."""

import gzip
import os
import unicodedata
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import data
from cs348k_diffusion.data import batches, load_digits, load_fashion, load_folder
from cs348k_diffusion.data.fashion import CHECKSUMS, read_idx
from cs348k_diffusion.data.images import from_bytes, to_bytes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- batches --------------------------------------------------------------------------------------------------------


def test_batches_never_end_and_every_example_is_seen_equally_often():
    x = torch.arange(10.0)
    seen = torch.stack(list(islice(batches(x, size=4, generator=generator()), 25)))
    assert seen.shape == (25, 4)
    assert set(Counter(seen.flatten().tolist()).values()) == {10}
    first, second = seen.flatten()[:10], seen.flatten()[10:20]
    assert_close(first.sort().values, x)
    assert (first != second).any()


def test_labels_stay_with_their_examples():
    x = torch.arange(50.0)
    for part, cond in islice(batches(x, (2 * x).long(), size=16, generator=generator()), 5):
        assert_close(cond["y"], (2 * part).long())


def test_a_batch_may_be_larger_than_the_data():
    drawn = next(batches(torch.arange(3.0), size=8, generator=generator()))
    assert sorted(Counter(drawn.tolist()).values()) == [2, 3, 3]


def test_batches_are_drawn_where_the_generator_lives(monkeypatch):
    """No other device is needed to see it: the order is asked for there, and goes to where the data are."""
    asked, draw = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda n, **how: asked.append(how["device"]) or draw(n, **how))
    there = torch.Generator()
    next(batches(torch.arange(3.0), size=8, generator=there))
    assert set(asked) == {there.device}


def test_batches_say_what_is_wrong():
    with pytest.raises(ValueError, match="at least one example"):
        batches(torch.empty(0, 2))
    with pytest.raises(ValueError, match="one label for each"):
        batches(torch.zeros(3, 2), torch.zeros(4))


# --- points ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [data.two_moons, data.swiss_roll, data.checkerboard, data.eight_gaussians])
def test_points_have_unit_scale_and_come_from_their_generator(points):
    x = points(20_000, generator(1))
    assert x.shape == (20_000, 2)
    assert x.dtype == torch.float32
    assert x.mean(0).abs().max() < 0.35
    assert 0.7 < x.std() < 1.2
    assert_close(points(10, generator(3)), points(10, generator(3)))


def test_checkerboard_is_uniform_on_eight_squares():
    cells = ((data.checkerboard(40_000, generator()) / 0.9) + 2).floor().long()
    assert set((cells.sum(1) % 2).tolist()) == {0}
    counts = torch.bincount(4 * cells[:, 0] + cells[:, 1], minlength=16)
    counts = counts[counts > 0].double()
    assert len(counts) == 8
    assert ((counts - 5000) ** 2 / 5000).sum() < 24.3  # chi-squared, 7 degrees of freedom, 99.9 %


def test_blobs_have_their_weights_means_and_spread():
    blobs = data.ncsn_toy(dim=2)
    x = blobs.draw(40_000, generator())
    small = x[:, 0] < 0
    assert abs(float(small.double().mean()) - 0.2) < 4 * (0.16 / 40_000) ** 0.5
    assert_close(x[small].mean(0), torch.tensor([-5.0, -5.0]), rtol=0, atol=0.05)
    assert_close(x[~small].std(0), torch.ones(2), rtol=0.03, atol=0)
    ring = data.ring_of_gaussians()
    assert_close(ring.weights.sum(), torch.tensor(1.0))
    assert_close(ring.means.norm(dim=1), torch.full((8,), 1.4))
    nearest = torch.cdist(data.eight_gaussians(5000, generator()), ring.means).min(1).values
    assert_close(nearest.square().mean(), torch.tensor(2 * 0.1**2), rtol=0.1, atol=0)


def test_two_moons_are_half_circles():
    x = data.two_moons(2000, generator(), std=0.0) / 1.2
    upper, lower = x - torch.tensor([-0.5, -0.25]), -x - torch.tensor([-0.5, -0.25])
    on_upper = (upper.norm(dim=1) - 1).abs() < 1e-5
    assert_close(lower[~on_upper].norm(dim=1), torch.ones(int((~on_upper).sum())))
    assert upper[on_upper][:, 1].min() > -1e-5
    assert abs(float(on_upper.double().mean()) - 0.5) < 4 * 0.5 / 2000**0.5


# --- digits ---------------------------------------------------------------------------------------------------------


def test_digits_are_all_there():
    x, y = load_digits()
    assert x.shape == (1797, 1, 8, 8)
    assert x.dtype == torch.float32
    assert y.dtype == torch.long
    assert y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (float(x.min()), float(x.max())) == (-1.0, 1.0)
    assert_close((x + 1) * 8, ((x + 1) * 8).round())
    assert_close(((x + 1) * 8).sum(), torch.tensor(561718.0))


def test_the_held_out_digits_are_apart_and_mixed():
    (train, y), (held_out, held_y), (everything, _) = (load_digits(s) for s in ("train", "held_out", "all"))
    assert (len(train), len(held_out)) == (1437, 360)
    assert_close(torch.cat([train, held_out]), everything)
    assert torch.cdist(held_out.flatten(1), train.flatten(1)).min() > 0.1
    for labels in (y, held_y):
        assert labels.bincount(minlength=10).min() > 0.7 * len(labels) / 10
    assert load_digits("train")[1][:12].tolist() == y[:12].tolist()


def test_digits_know_their_splits():
    with pytest.raises(ValueError, match="'train', 'held_out'"):
        load_digits("test")


# --- fashion --------------------------------------------------------------------------------------------------------


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.numpy().tobytes()


@pytest.fixture
def shelf(tmp_path):
    """A folder with a test split of the right shape: image k is all k % 256, of class k % 10."""
    images = (torch.arange(10_000) % 256).to(torch.uint8).view(-1, 1, 1).expand(-1, 28, 28).contiguous()
    labels = (torch.arange(10_000) % 10).to(torch.uint8)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def test_fashion_from_a_folder(shelf, monkeypatch):
    x, y = load_fashion("test", shelf, size=28)
    assert x.shape == (10_000, 1, 28, 28)
    k = ((x[:, 0, 0, 0] + 1) * 127.5).round().long()
    assert k.sort().values.bincount().tolist() == (torch.arange(10_000) % 256).bincount().tolist()
    assert (y[:1000].bincount(minlength=10) > 60).all()  # shuffled
    monkeypatch.setenv("CS348K_FASHION_DIR", str(shelf))
    again, same = load_fashion("test", size=28)
    assert_close(again, x)
    assert_close(same, y)


def test_images_stay_with_their_labels(shelf):
    labels = (torch.arange(10_000) % 10).to(torch.uint8)
    bright = (labels * 20).view(-1, 1, 1).expand(-1, 28, 28).contiguous()
    (shelf / "t10k-images-idx3-ubyte").write_bytes(idx(bright))
    x, y = load_fashion("test", shelf, size=28)
    assert_close(((x[:, 0, 5, 5] + 1) * 127.5 / 20).round().long(), y)


def test_fashion_sizes(shelf):
    published, bordered, small = (load_fashion("test", shelf, size)[0] for size in (28, 32, 16))
    assert_close(bordered[:, :, 2:-2, 2:-2], published)
    assert bordered[:, :, :2].max() == -1
    assert_close(small[:, :, 3, 3], bordered[:, :, 6:8, 6:8].mean((2, 3)))
    with pytest.raises(ValueError, match="16, 28 or 32"):
        load_fashion("test", shelf, size=20)
    with pytest.raises(ValueError, match="'train' or 'test'"):
        load_fashion("held_out", shelf)


def test_fashion_says_which_file_is_missing(shelf):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz .*put the four files"):
        load_fashion("train", shelf)


def test_fashion_notices_another_data_set(shelf):
    (shelf / "t10k-images-idx3-ubyte").write_bytes(idx(torch.zeros(500, 28, 28, dtype=torch.uint8)))
    with pytest.raises(ValueError, match=r"\(500, 28, 28\).*another data set"):
        load_fashion("test", shelf)
    (shelf / "t10k-images-idx3-ubyte").write_bytes(idx(torch.zeros(10_000, 28, 28, dtype=torch.uint8)))
    (shelf / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(torch.full((10_000,), 46, dtype=torch.uint8)))
    with pytest.raises(ValueError, match=r"0\.\.9, the file holds 46"):
        load_fashion("test", shelf)


def test_idx_reads_any_shape(tmp_path):
    array = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "zipped").write_bytes(gzip.compress(idx(array)))
    for name in ("plain", "zipped"):
        assert_close(read_idx(tmp_path / name), array)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda raw: gzip.compress(raw)[:-30], "cut short or damaged"),
        (lambda raw: raw[:-1], r"promises shape \(2, 3, 4\) but holds 23"),
        (lambda raw: raw + b"\0", "holds 25"),
        (lambda raw: b"<!DOCTYPE html>", "starts with 3c 21 44 4f"),
        (lambda raw: b"", "not an IDX file"),
        (lambda raw: raw[:9], "promises shape"),
        (lambda raw: bytes([0, 0, 13]) + raw[3:], "not 00 00 08"),
    ],
)
def test_idx_notices_damage(tmp_path, damage, says):
    (tmp_path / "file").write_bytes(damage(idx(torch.arange(24, dtype=torch.uint8).view(2, 3, 4))))
    with pytest.raises(ValueError, match=says):
        read_idx(tmp_path / "file")


def test_no_network_is_one_clear_sentence(monkeypatch):
    import pooch

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.delenv("CS348K_FASHION_DIR", raising=False)
    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(ConnectionError, match=r"no route to host.*load_fashion\(folder=\.\.\.\)"):
        load_fashion("test")


def test_downloads_are_checked_against_the_published_files(monkeypatch, shelf):
    import pooch

    asked = {}

    def retrieve(url, known_hash, fname, **kwargs):
        asked[fname] = known_hash
        return str(shelf / fname if (shelf / fname).exists() else shelf / fname.removesuffix(".gz"))

    monkeypatch.delenv("CS348K_FASHION_DIR", raising=False)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    load_fashion("test", size=28)
    assert asked == {name: CHECKSUMS[name] for name in CHECKSUMS if name.startswith("t10k")}


def real_fashion():
    """The folder with the real files: named by the environment, or lying beside the repository."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "fashion-mnist"
    return Path(os.environ.get("CS348K_FASHION_DIR", beside))


@pytest.mark.skipif(not real_fashion().is_dir(), reason="no Fashion-MNIST here: name its folder in CS348K_FASHION_DIR")
def test_the_real_fashion_mnist():
    x, y = load_fashion("test", real_fashion(), size=28)
    assert y.bincount().tolist() == [1000] * 10
    assert y[:500].bincount(minlength=10).min() > 25  # not sorted by class any more
    assert abs(float((x + 1).mean() / 2) - 0.2868) < 0.001  # the mean grey value that everybody quotes
    means = torch.stack([x[y == c].mean(0).flatten() for c in range(10)])
    assert (torch.cdist(x.flatten(1), means).argmin(1) == y).double().mean() > 0.65  # images belong to their labels


# --- a folder of pictures -------------------------------------------------------------------------------------------


def picture(path, colour, size=(20, 20), mode="RGB"):
    from PIL import Image

    Image.new(mode, size, colour).save(path)


def test_a_folder_of_pictures(tmp_path):
    picture(tmp_path / "b.png", (255, 0, 0))
    picture(tmp_path / "a.jpg", (128, 128, 128), size=(40, 20))
    (tmp_path / "notes.txt").write_text("not a picture")
    x, captions = load_folder(tmp_path, size=16)
    assert x.shape == (2, 3, 16, 16)
    assert_close(x[1].mean((1, 2)), torch.tensor([1.0, -1.0, -1.0]))
    assert_close(x[0], torch.full((3, 16, 16), 128 / 127.5 - 1), rtol=0, atol=0.02)
    assert captions == ["", ""]
    assert load_folder(tmp_path, size=8, grey=True)[0].shape == (2, 1, 8, 8)


def test_pictures_are_cut_to_their_middle_and_turned_upright(tmp_path):
    from PIL import Image

    wide = Image.new("L", (60, 20), 0)
    wide.paste(255, (20, 0, 40, 20))
    wide.save(tmp_path / "wide.png")
    assert load_folder(tmp_path, size=10, grey=True)[0].min() > 0.99
    tall = Image.new("L", (20, 20), 0)
    tall.paste(255, (0, 0, 20, 10))  # the upper half is white, as stored
    exif = tall.getexif()
    exif[0x0112] = 3  # held upside down
    tall.save(tmp_path / "wide.png", exif=exif)
    x = load_folder(tmp_path, size=10, grey=True)[0][0, 0]
    assert (x[:4].max() < -0.9, x[6:].min() > 0.9) == (True, True)


def test_transparency_becomes_black(tmp_path):
    picture(tmp_path / "a.png", (255, 255, 255, 0), mode="RGBA")
    assert_close(load_folder(tmp_path, size=8)[0], -torch.ones(1, 3, 8, 8))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pictures_are_read_as_fit_tree_reads_them(tmp_path):
    """16 bits are scaled and not clipped, a turned one among them; hidden and damaged files are not pictures."""
    from PIL import Image

    levels = np.zeros((20, 20), np.uint16)
    levels[:10] = 32768  # the upper half is grey, as stored
    deep = Image.fromarray(levels)
    exif = deep.getexif()
    exif[0x0112] = 3
    deep.save(tmp_path / "deep.png", exif=exif)
    picture(tmp_path / ".hidden.png", 255)
    (tmp_path / "._deep.png").write_bytes(b"left by another system")
    (x,), _ = load_folder(tmp_path, size=10, grey=True)
    assert_close(x[0, 7:], torch.full((3, 10), 127 / 127.5 - 1), atol=0.02, rtol=0)
    assert_close(x[0, :3], torch.full((3, 10), -1.0), atol=0.02, rtol=0)
    Image.new("1", (8000, 8000)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match=r"huge.png is huge, 8000 x 8000 pixels"):
        load_folder(tmp_path, size=10)


def test_bytes_and_floats_are_each_other_s_inverse():
    values = torch.arange(256, dtype=torch.uint8)
    assert_close(to_bytes(from_bytes(values)), values)
    assert_close(from_bytes(values)[[0, 255]], torch.tensor([-1.0, 1.0]))
    assert_close(to_bytes(torch.tensor([-1.5, 1.5])), torch.tensor([0, 255], dtype=torch.uint8))


def test_captions(tmp_path):
    for name in ("a.png", "b.png"):
        picture(tmp_path / name, 0)
    (tmp_path / "captions.csv").write_text('file,caption\nb.png, "a cat, asleep"\na.png,a dog\n', encoding="utf-8-sig")
    assert load_folder(tmp_path, size=8)[1] == ["a dog", "a cat, asleep"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("a.png,one\nc.png,two\n", r"line 2: there is no image 'c\.png'"),
        ("a.png,one\n", r"no caption for b\.png"),
        ("a.png,one\nb.png,two, three\n", r"line 2: expected"),
    ],
)
def test_captions_that_do_not_fit(tmp_path, lines, says):
    for name in ("a.png", "b.png"):
        picture(tmp_path / name, 0)
    (tmp_path / "captions.csv").write_text(lines)
    with pytest.raises(ValueError, match=says):
        load_folder(tmp_path, size=8)


SPREADSHEETS = {
    "comma": b'a.png,a dog\nb.png,"a cat, asleep"\n',
    "byte-order mark, CRLF": b'\xef\xbb\xbffile,caption\r\na.png,a dog\r\nb.png,"a cat, asleep"\r\n',
    "semicolons": b"File;Caption\r\na.png;a dog\r\nb.png;a cat, asleep\r\n",
    "sep=": b'sep=;\r\na.png;a dog\r\nb.png;"a cat, asleep"\r\n;\r\n',
    "tabs": b"a.png\ta dog\nb.png\ta cat, asleep",
    "UTF-16": "a.png\ta dog\nb.png\ta cat, asleep\n".encode("utf-16"),
    "old Mac": b'a.png,a dog\rb.png,"a cat, asleep"\r',
    "padded": b'a.png,a dog,,\nb.png,"a cat, asleep",,\n,,,\n',
    "more columns": b'by,caption,file\nme,a dog,a.png\nme,"a cat, asleep",b.png\n',
    "capitals, spaces": b'A.PNG , a dog\n b.png, "a cat, asleep"\n',
    "a line break": b'a.png,a dog\nb.png,"a cat,\r\nasleep"\n',
}


@pytest.mark.parametrize("kind", SPREADSHEETS)
def test_captions_from_any_spreadsheet_are_read(tmp_path, kind):
    for name in ("a.png", "b.png"):
        picture(tmp_path / name, 0)
    (tmp_path / "captions.csv").write_bytes(SPREADSHEETS[kind])
    assert load_folder(tmp_path, size=8)[1] == ["a dog", "a cat, asleep"]


def test_letters_of_captions_survive(tmp_path):
    picture(tmp_path / unicodedata.normalize("NFD", "zoë.png"), 0)  # as macOS stores a name
    for written in ("zoë.png,un café".encode("cp1252"), "zoë.png;un café".encode()):
        (tmp_path / "captions.csv").write_bytes(written)
        assert load_folder(tmp_path, size=8)[1] == ["un café"]
    (tmp_path / "captions.csv").unlink()
    (tmp_path / "captions.jsonl").write_bytes('\n{"file": "zoë.png", "caption": "a\u2028cat"}\r\n\n'.encode())
    assert load_folder(tmp_path, size=8)[1] == ["a cat"]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("captions.csv", b"PK\x03\x04\0\0", "save it from the spreadsheet as 'CSV UTF-8'"),
        ("captions.csv", b"a.png,\x81\n", "is not text in UTF-8"),  # no letter in cp1252 either
        ("captions.csv", b'a.png,"a cat\n', "line 1 is not CSV"),
        ("captions.csv", b"a.png;a cat; asleep\n", "line 1: expected .* found 3 fields"),
        ("captions.csv", b"a.png\n", "line 1: expected .* found 1 fields"),
        ("captions.csv", b"by,file,caption\nme,a.png\n", "line 2: expected  3 fields"),
        ("captions.csv", b"a.png,one\na.png,two\n", "line 2: 'a.png' has another caption above"),
        ("captions.xlsx", b"PK", "captions.xlsx is not read"),
        ("captions.jsonl", b'{"file": "a.png", "caption": null}', "line 1: expected"),
        ("captions.jsonl", b'{"file": "a.png", "caption": "\xe9"}', "is not text in UTF-8"),
    ],
)
def test_captions_that_cannot_be_read_for_certain_are_refused(tmp_path, name, data, says):
    picture(tmp_path / "a.png", 0)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=says):
        load_folder(tmp_path, size=8)


def test_two_tables_of_captions_are_not_settled_in_silence(tmp_path):
    picture(tmp_path / "a.png", 0)
    for name in ("captions.tsv", "Captions.csv"):
        (tmp_path / name).write_text("a.png,one")
    with pytest.raises(ValueError, match=r"Captions\.csv, captions\.tsv: take away all but one"):
        load_folder(tmp_path, size=8)


def test_a_folder_that_will_not_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no images"):
        load_folder(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but not really")
    with pytest.raises(ValueError, match=r"broken\.png is not an image that can be read here"):
        load_folder(tmp_path)
