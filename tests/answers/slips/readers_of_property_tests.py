"""Slips of a reader of the property tests of 08, 09 and 10, by exercise: nearly whole, and each overlooks one thing."""

import torch
import torch.nn.functional as F

SLIPS = {}


def near(got, want=0.0, tolerance=1e-3):
    assert (got - want).abs().max() < tolerance


def nearest_by_angle(encode, decode, data, z, made):
    near(((data - made) * (made.roll(1, 0) - made)).sum((1, 2, 3)))


def nearest_again(encode, decode, data, z, made):
    near(decode(encode(made)), made)


def no_nearer(*others):
    """No code among these gives a picture nearer to the data, over all of it."""

    def nearest(encode, decode, data, z, made):
        for other in others:
            assert (made - data).square().mean() <= (decode(other(z)) - data).square().mean() + 1e-4

    return nearest


def moved(*steps):
    """Rolled by these (rows, columns) of places, in turn."""

    def places(encode, data, z):
        for step in steps:
            near(encode(data.roll([4 * n for n in step], (2, 3))), z.roll(step, (2, 3)))

    return places


ROLLED = moved((1, -1))


def codec_test(
    nearest=nearest_by_angle,
    places=ROLLED,
    alone=lambda encode, data, z: near(encode(data[2:3]), z[2:3]),
    means=lambda z: near(z.mean((0, 2, 3))),
    variances=lambda z: near(z.var((0, 2, 3), correction=0), 1.0),
    linear=lambda encode, data, z: near(encode((data + data.flip(0)) / 2), (z + z.flip(0)) / 2),
    promised=lambda loss, error: near(loss, error),
):
    def test_codec(codec):
        encode, decode, data, error = codec
        z = encode(data)
        made = decode(z)
        means(z)
        variances(z)
        alone(encode, data, z)
        places(encode, data, z)
        linear(encode, data, z)
        nearest(encode, decode, data, z, made)
        promised(16 * (made - data).square().mean(), error)

    return test_codec


SLIPS["E8.6"] = {
    "places by columns alone": codec_test(places=moved((0, 1))),
    "places by rows alone": codec_test(places=moved((1, 0))),
    "as far down as to the side": codec_test(places=moved((1, 1))),
    "half of the picture": codec_test(places=moved((2, 2), (2, 0))),
    "the whole picture": codec_test(places=moved((4, 4))),
    "once more": codec_test(nearest=nearest_again),
    "no nearest": codec_test(nearest=lambda *_: None),
    "nearer than the mean": codec_test(nearest=no_nearer(torch.zeros_like)),
    "nearer than another picture": codec_test(nearest=no_nearer(lambda z: z.roll(1, 0))),
    "nearer than codes moved alike": codec_test(nearest=no_nearer(lambda z: z + 0.1, lambda z: z - 0.1)),
    "the first two alone": codec_test(alone=lambda encode, data, z: near(encode(data[:2])[1:], z[1:2], 10.0)),
    "the order of a batch": codec_test(alone=lambda encode, data, z: near(encode(data.flip(0)).flip(0), z)),
    "the mean of all": codec_test(means=lambda z: near(z.mean())),
    "means of pictures": codec_test(means=lambda z: near(z.mean((2, 3)))),
    "the variance of all": codec_test(variances=lambda z: near(z.var(correction=0), 1.0)),
    "the variance divided by less": codec_test(variances=lambda z: near(z.var((0, 2, 3)), 1.0)),
    "a wide variance": codec_test(variances=lambda z: near(z.var((0, 2, 3)), 1.0, 0.6)),
    "linear through 0": codec_test(linear=lambda encode, data, z: near(encode(2 * data), 2 * z)),
    "a sum": codec_test(linear=lambda encode, data, z: near(encode(data + data.flip(0)), z + z.flip(0))),
    "not linear": codec_test(linear=lambda *_: None, nearest=nearest_again),
    "a wide error": codec_test(promised=lambda loss, error: near(loss, error, 0.2)),
    "no more than the error": codec_test(promised=lambda loss, error: near((loss - error).clamp(min=0))),
    "half to twice the error": codec_test(promised=lambda loss, error: near(torch.log2(loss / error), 0, 1.5)),
    "an error of a number": codec_test(promised=lambda loss, error: near(loss / 16, error)),
    "an error of a picture": codec_test(promised=lambda loss, error: near(loss * 16, error)),
    "a small error": codec_test(promised=lambda loss, error: near(loss, 0, 0.1)),
}


def uneven(n=3, h=12, w=13):
    return torch.randn(n, 1, h, w, generator=torch.Generator().manual_seed(6))


def rolled(*steps, cut=16):
    """Moved by these (rows, columns), in turn, and compared without the borders."""

    def places(upsample, x, big):
        for step in steps:
            there, here = upsample(x.roll(step, (2, 3))), big.roll([4 * n for n in step], (2, 3))
            inside = slice(cut, -cut or None)
            near(there[..., inside, inside], here[..., inside, inside])

    return places


INSIDE = rolled((1, 1))


def upsampler_test(
    x=uneven,
    means=lambda x, big: near(F.avg_pool2d(big, 4), x),
    colours=(0.4, -0.3),
    alone=lambda upsample, x, big: near(upsample(x[1:2]), big[1:2]),
    places=INSIDE,
):
    def test_upsampler(upsample):
        given = x()
        big = upsample(given)
        means(given, big)
        for colour in colours:
            near(upsample(torch.full_like(given, colour)), colour)
        alone(upsample, given, big)
        places(upsample, given, big)

    return test_upsampler


SLIPS["E9.6"] = {
    "places by columns alone": upsampler_test(places=rolled((0, 1))),
    "places by rows alone": upsampler_test(places=rolled((1, 0))),
    "places to the borders": upsampler_test(places=rolled((1, 1), cut=0)),
    "places almost to the borders": upsampler_test(places=rolled((1, 1), cut=4)),
    "one of the small for one of the large": upsampler_test(
        places=lambda upsample, x, big: near(upsample(x.roll(1, -1))[..., 16:-16], big.roll(1, -1)[..., 16:-16])
    ),
    "pictures that are the same in all rows": upsampler_test(x=lambda: uneven(h=1).expand(3, 1, 12, 13)),
    "pictures that are the same in all columns": upsampler_test(x=lambda: uneven(w=1).expand(3, 1, 12, 13)),
    "pictures of one colour": upsampler_test(x=lambda: uneven(h=1, w=1).expand(3, 1, 12, 13)),
    "bright pictures": upsampler_test(x=lambda: uneven().abs(), colours=(0.4, 1.0)),
    "the same picture three times": upsampler_test(x=lambda: uneven(n=1).expand(3, 1, 12, 13)),
    "the first alone": upsampler_test(alone=lambda upsample, x, big: near(upsample(x[:1]), big[:1])),
    "the first two alone": upsampler_test(alone=lambda upsample, x, big: near(upsample(x[:2]), big[:2])),
    "the order of a batch": upsampler_test(alone=lambda upsample, x, big: near(upsample(x.flip(0)), big.flip(0))),
    "black alone": upsampler_test(colours=(0.0,)),
    "no colour": upsampler_test(colours=()),
    "the mean of the picture": upsampler_test(means=lambda x, big: near(big.mean((2, 3)), x.mean((2, 3)))),
    "the middle of a block": upsampler_test(means=lambda x, big: near(big[..., 1::4, 1::4], x)),
    "wide means": upsampler_test(means=lambda x, big: near(F.avg_pool2d(big, 4), x, 0.5)),
    "equal means": upsampler_test(means=lambda x, big: near(F.avg_pool2d(big, 4), x, 1e-30)),
}


def rms(gap):
    return gap.square().mean().sqrt()


def student_test(
    steps=(1, 2, 4),
    noise=lambda: torch.randn(300, 2, generator=torch.Generator().manual_seed(7)),
    gap=lambda student, teacher: rms(student - teacher) < 0.15,
    alone=lambda draw, z, n: near(draw(z[:5], n), draw(z, n)[:5], 0.05),
    spread=lambda points: points.std(0).min() > 0.4,
):
    def test_student(draw):
        z = noise()
        for n in steps:
            assert gap(draw(z, n), draw(z, 16))
        for n in (*steps, 16):
            alone(draw, z, n)
            assert spread(draw(z, n))

    return test_student


SLIPS["E10.7"] = {
    "not 4 steps": student_test(steps=(1, 2)),
    "not 2 steps": student_test(steps=(1, 4)),
    "not 1 step": student_test(steps=(2, 4)),
    "3 steps, too": student_test(steps=(1, 2, 3, 4)),
    "black noise": student_test(noise=lambda: torch.zeros(9, 2)),
    "the same noise in every example": student_test(noise=lambda: torch.linspace(-1, 1, 2).expand(300, 2)),
    "points on a diagonal": student_test(noise=lambda: torch.linspace(-2, 2, 300)[:, None].expand(300, 2)),
    "the square": student_test(gap=lambda student, teacher: (student - teacher).square().mean() < 0.1),
    "the size": student_test(gap=lambda student, teacher: (student - teacher).abs().mean() < 0.1),
    "the quarter that is farthest": student_test(
        gap=lambda student, teacher: (student - teacher).abs().flatten().quantile(0.97) < 0.15
    ),
    "lengths of points": student_test(
        gap=lambda student, teacher: rms(student.norm(dim=1) - teacher.norm(dim=1)) < 0.15
    ),
    "moments": student_test(gap=lambda student, teacher: (student.std(0) - teacher.std(0)).abs().max() < 0.1),
    "sorted": student_test(
        noise=lambda: torch.randn(6000, 2, generator=torch.Generator().manual_seed(7)),
        gap=lambda student, teacher: rms(student.sort(0)[0] - teacher.sort(0)[0]) < 0.15,
    ),
    "a wide gap": student_test(gap=lambda student, teacher: rms(student - teacher) < 0.4),
    "a narrow gap": student_test(gap=lambda student, teacher: rms(student - teacher) < 0.06),
    "the order of a batch": student_test(alone=lambda draw, z, n: near(draw(z.flip(0), n).flip(0), draw(z, n))),
    "half of the batch": student_test(alone=lambda draw, z, n: near(draw(z[:150], n), draw(z, n)[:150], 0.3)),
    "nobody alone": student_test(alone=lambda draw, z, n: None),
    "all coordinates at once": student_test(spread=lambda points: points.std() > 0.4),
    "any coordinate": student_test(spread=lambda points: points.std(0).max() > 0.4),
    "a spread of 1": student_test(spread=lambda points: near(points.std(0), 1.0, 0.09) is None),
    "no spread": student_test(spread=lambda points: True),
}

NAMED = {}  # a test's own sentences are looked at elsewhere: here it must not pass
