"""What is live in the lecture's second half: the network, its attention, fewer pixels, fewer steps.

As in demos.py, each is a few lines of Python that define `demo(value)`.
"""

from __future__ import annotations

from cs348k_diffusion.authoring.lecture.controls import PROMPT, SEED, Control, Demo, slider

PERFORMANCE = {
    "budget": Demo(slider("steps", 1, 40, 1, 16), f"""
from time import process_time

draw, began, spent = recipes.load_pipeline("pictures"), {{}}, {{}}

def watch(name, part):
    part.register_forward_pre_hook(lambda *_: began.update({{name: process_time()}}))
    part.register_forward_hook(lambda *_: spent.update({{name: spent.get(name, 0) + process_time() - began[name]}}))

watch("network", draw.model.net)
for part in draw.model.net.modules():
    if type(part).__name__ in ("Conv2d", "Attention"):
        watch(type(part).__name__, part)

def demo(steps):
    spent.clear()
    spent["all"] = -process_time()
    draw.images(["{PROMPT}"], seed=1, steps=int(steps))
    spent["all"] += process_time()
    words = f"one picture, {{int(steps)}} steps: {{1000 * spent['all']:.0f}} ms\\n"
    for name in ("network", "Conv2d", "Attention"):
        words += f"\\n{{name}}: {{1000 * spent[name]:.0f}} ms, {{spent[name] / spent['all']:.0%}}"
    stage.say(words)
"""),
    "listening": Demo(SEED, """
from cs348k_diffusion.nets import word_maps
from cs348k_diffusion.recipes.pictures import TOKENIZER

prompt, draw = "two orange cats left of a tall red tree at night", recipes.load_pipeline("pictures")
tokens, said = TOKENIZER(prompt), ["(start)", *prompt.split()]

def demo(seed):
    for state in draw([prompt], seed=int(seed)):
        looks = word_maps(draw.model.net, state.x, torch.tensor([max(state.t, 0.01)]), tokens)[0]
        maps = [looks[said.index(word)] for word in ("cats", "orange", "tree", "night")]
        maps = [(2 * one / one.max() - 1).expand(1, 3, 32, 32) for one in maps]
        words = "the picture; then where it listens to: cats, orange, tree, night"
        stage.show(torch.cat([state.x0_hat, *maps]), words, columns=5)
"""),
    "attention": Demo(slider("N = 2 to the power of", 8, 12, 1, 10), """
from time import process_time
from cs348k_diffusion.attention import dense_attention, tiled_attention

def demo(power):
    n = 2 ** int(power)
    q, k, v = torch.randn(3, 1, n, 64)
    words = f"N = {n:,}: S holds {n * n:,} numbers, a tile of 64 keys {n * 64:,}\\n"
    for name, way in (("dense", dense_attention), ("tiled", tiled_attention)):
        began = process_time()
        way(q, k, v)
        words += f"{name}: {1000 * (process_time() - began):.0f} ms\\n"
    gap = (dense_attention(q, k, v).out - tiled_attention(q, k, v).out).abs().max()
    stage.say(words + f"largest difference: {gap:.0e}")
"""),
    "steps": Demo(slider("steps", 1, 40, 1, 8), f"""
from time import process_time

draw = recipes.load_pipeline("pictures")

def demo(steps):
    began = process_time()
    images = draw.images(["{PROMPT}"] * 4, seed=3, steps=int(steps))
    spent = process_time() - began
    words = f"{{int(steps)}} steps, {{2 * int(steps)}} evaluations, {{spent / 4:.2f}} s a picture"
    stage.show(images, words, columns=4)
"""),
    "enlarge": Demo(slider("picture", 0, 99, 1, 3), """
import torch.nn.functional as F
from cs348k_diffusion import last, path
from cs348k_diffusion.cascade import bicubic, diffusion, regression, resize
from cs348k_diffusion.data.pictures import pictures

model = recipes.load("upsampler_32")

def demo(number):
    true = pictures(1, 32, 7, start=int(number)).images
    low = resize(true, 8)
    ways = (bicubic(32), regression(model), diffusion(model, path(10), generator=torch.Generator().manual_seed(1)))
    row = [F.interpolate(low, (32, 32)), *(last(way(low)).x.clamp(-1, 1) for way in ways), true]
    stage.show(torch.cat(row), "given: 8 x 8, bicubic, the mean; one draw, the truth", columns=3)
"""),
    "cascade": Demo(Control("text", "sentence", "a red house by day"), """
import torch.nn.functional as F

draw = recipes.load_pipeline("pictures_cascade")

def demo(prompt):
    for state in draw([prompt] * 3, seed=2):
        size = state.x.shape[-1]
        stage.show(F.interpolate(state.x, (64, 64)), f"stage {state.stage + 1}: {size} x {size} pixels", columns=3)
"""),
    "upsamplings": Demo(slider("draws", 1, 8, 1, 4), """
from cs348k_diffusion import last, path
from cs348k_diffusion.cascade import bicubic, diffusion, regression, resize
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.metrics import psnr

model, true = recipes.load("upsampler_32"), pictures(1, 32, 7, start=11).images
low = resize(true, 8)

def demo(draws):
    drawing = diffusion(model, path(10), generator=torch.Generator().manual_seed(5))
    drawn = last(drawing(low.expand(int(draws), -1, -1, -1))).x.clamp(-1, 1)
    ways = [last(way(low)).x.clamp(-1, 1) for way in (bicubic(32), regression(model))]
    db = [float(psnr(x, true)) for x in (*ways, drawn[:1], drawn.mean(0, keepdim=True))]
    words = "PSNR: bicubic {:.1f}, mean {:.1f}, a draw {:.1f}, mean of the draws {:.1f} dB".format(*db)
    stage.show(torch.cat([true, *ways, drawn]), words, columns=3 + int(draws))
"""),
    "latent": Demo(slider("picture", 0, 99, 1, 3), """
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.metrics import psnr
from cs348k_diffusion.recipes.stages import pictures_codec

codec = pictures_codec.frozen()

def demo(number):
    x = pictures(1, 64, 5, start=int(number)).images
    z = codec.encode(x)
    made = codec.decode(z).clamp(-1, 1)
    code = (z[:, :3] / 3).clamp(-1, 1).repeat_interleave(4, -1).repeat_interleave(4, -2)
    words = f"{x.numel():,} numbers; its code: {z.numel():,}; decoded: {float(psnr(made, x)):.1f} dB"
    stage.show(torch.cat([x, code, made]), words, columns=3)
"""),
    "factor": Demo(slider("numbers a piece of 8 x 8 pixels", 1, 96, 1, 12), """
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.latent import PCACodec
from cs348k_diffusion.metrics import psnr

made_from, x = pictures(100, 32, 62).images, pictures(6, 32, 63).images

def demo(d):
    codec = PCACodec.of(made_from, 8, int(d))
    back = codec.decode(codec.encode(x)).clamp(-1, 1)
    words = f"{192 / d:.0f} times fewer numbers: {float(psnr(back, x).mean()):.1f} dB"
    stage.show(torch.cat([x, back]), words, columns=6)
"""),
    "student": Demo(SEED, f"""
teacher, student = recipes.load_pipeline("pictures"), recipes.load_pipeline("pictures_fast")
WAYS = {{"student 2": (student, 2), "student 4": (student, 4), "DDIM 2x2": (teacher, 2), "DDIM 4x2": (teacher, 4)}}

def demo(seed):
    rows = torch.zeros(4, 4, 3, 32, 32)
    for row, (way, steps) in zip(rows, WAYS.values()):
        row[:] = way.images(["{PROMPT}"] * 4, 3.0, int(seed), steps)
        stage.show(rows.flatten(0, 1), "rows: " + ", ".join(WAYS) + "; same noise", columns=4)
"""),
    "typed": Demo(Control("text", "sentence", "a red tree left of two purple houses"), """
from cs348k_diffusion import last

draw = recipes.load_pipeline("pictures_fast")

def demo(prompt):
    try:
        images = draw.images([prompt] * 6, seed=3, steps=2)
    except ValueError as error:
        return stage.say(str(error))  # an unfinished word: the last picture stays
    stage.show(images, f"{prompt}: 2 evaluations a picture", columns=3)
"""),
}  # fmt: skip
