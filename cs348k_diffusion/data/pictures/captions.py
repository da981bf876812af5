"""A small grammar that says what is in a picture, and reads it back.

GROUP [left of | right of | above GROUP] [in SEASON] [by day | at dusk | at night] [under the sun | moon], where GROUP
is [a | two | three] [small | tall | big] [COLOUR] [SPECIES] [tree | cat | house], as in "two orange cats left of a tall
red tree at night". A caption never lies, but it may say less than there is to see: sizes, species, season, sky and
light are left out at random. A picture's own caption names every colour; other wordings of it leave colours out too,
down to "a cat". Counts, kinds and relations are always said.
"""

from __future__ import annotations

import difflib
import re

from cs348k_diffusion.data.pictures.keyed import KeyedDraws
from cs348k_diffusion.data.pictures.world import COLOURS, KINDS, LIGHTS, MOST, SEASONS, SIZES, SPECIES, Group, Scene

COUNTS = {"a": 1, "an": 1, "two": 2, "three": 3}
SKY = {"by day": "day", "at dusk": "dusk", "at night": "night"}
WORDS = (
    *("a an two three small tall big".split()),
    *COLOURS,
    *SPECIES,
    *(word for kind in KINDS for word in (kind, f"{kind}s")),
    *("left right of above in".split()),
    *SEASONS,
    *("by day at dusk night under the sun moon".split()),
)
"""The whole vocabulary."""
WORDING, STREAMS = 2, 8  # the stream of the own caption's rng, and how far on that of the next wording is
LONGEST = 24  # words of a caption that a model reads; none of the grammar has so many
MENTION = {"size": 75, "species": 60, "season": 40, "sky": 75, "light": 50}  # per cent of the captions that could
BRIEF = {"size": 60, "colour": 60, "species": 50, "season": 30, "sky": 50, "light": 40}  # the same, for other wordings
GROUP = re.compile(
    rf"(?P<count>{'|'.join(COUNTS)}) (?:(?P<size>small|tall|big) )?(?:(?P<colour>{'|'.join(COLOURS)}) )?"
    rf"(?:(?P<species>{'|'.join(SPECIES)}) )?(?P<kind>{'|'.join(KINDS)})(?P<plural>s?)(?: |$)"
)
INSTEAD = {  # words that people try, and what the grammar has for them
    **dict.fromkeys(("four", "five", "many", "some", "4", "5"), "there are a, two or three of a kind"),
    **{"one": 'say "a"', "1": 'say "a"', "2": 'say "two"', "3": 'say "three"'},
    **dict.fromkeys(("below", "beneath"), 'turn it round and say "above"'),
    **dict.fromkeys(("and", "with", "beside"), 'groups are joined by "left of", "right of" or "above"'),
}
NEAR = 0.75  # of 1: how alike a known word must be to be suggested ("purpel", but not "car" for "cat")
ORDER = "the order is how many, size, colour, species, and the thing last"
AFTER = (  # what may follow the things where the grammar has no such word, and what is wrong then: the first that fits
    ("(left of|right of|above)$", 'a group of things is missing after "{}"'),
    ("(left of|right of|above) ", "a picture has at most two groups of things"),
    (r"(left|right)\b", 'say "{} of"'),
    (rf"({'|'.join(('small', 'tall', 'big', *COLOURS, *SPECIES))})\b", ORDER),
    ("()", "after the things come, in this order: in winter, at night, under the moon"),
)
EXAMPLES = '"a tall red oak tree", "two small orange cats"'
RELATION = re.compile(r"(left of|right of|above) ")
TAIL = re.compile(
    rf"(?:in (?P<season>{'|'.join(SEASONS)})(?: |$))?(?:(?P<sky>{'|'.join(SKY)})(?: |$))?"
    r"(?:under (?:the|a) (?P<light>sun|moon)(?: |$))?$"
)


def caption(scene: Scene, seed: int | None = None, index: int = 0, wording: int = 0) -> str:
    """The scene in words: all of it, or with a seed what is left after (seed, index, wording) has left out some.

    wording: 0 is the picture's own caption, which names all colours; 1, 2, ... are others, which need not. Raises
    ValueError for a negative one.
    """
    if wording < 0:
        raise ValueError(f"wording is a whole number from 0, got {wording}")
    rng = None if seed is None else KeyedDraws(seed, index, stream=WORDING + STREAMS * wording)
    often = BRIEF if wording else MENTION

    def said(what: str) -> bool:
        return rng is None or what not in often or rng.chance(often[what])

    groups = [_phrase(g, said("size"), said("species"), said("colour")) for g in scene.groups]
    words = [f" {scene.relation} ".join(groups)]
    words += [f"in {scene.season}"] if said("season") and scene.season else []
    words += [phrase for phrase, sky in SKY.items() if sky == scene.sky] if said("sky") else []
    words += [f"under the {scene.light}"] if said("light") and scene.light else []
    return " ".join(words)


def _phrase(group: Group, size: bool, species: bool, colour: bool) -> str:
    kind = group.kind + ("s" if group.count > 1 else "")
    parts = ((group.size, size), (group.colour, colour), (group.species, species), (kind, True))
    words = " ".join(word for word, said in parts if word and said)
    count = {1: "an" if words[0] in "aeiou" else "a", 2: "two", 3: "three"}[group.count]
    return f"{count} {words}"


def parse(text: str) -> Scene:
    """What a prompt asks for, as a Scene with None (and size "") for what it does not say.

    Raises ValueError for a word outside WORDS, naming the nearest one, for words in an order that the grammar does not
    have, and for scenes that the world does not hold: two groups of one kind, more than 4 things, a sun at night.
    """
    words = re.findall(r"[^\s,.;!]+", text.lower())
    if not words:
        raise ValueError('the prompt is empty; say what to draw, such as "a tall red tree at night"')
    if len(words) > LONGEST:
        raise ValueError(f"a caption has at most {LONGEST} words, this one has {len(words)}: say less")
    _known(words)
    rest = " ".join(words)
    first, rest = _read_group(rest, text)
    groups, relation = [first], None
    if found := RELATION.match(rest):
        relation = found[1]
        second, rest = _read_group(rest[found.end() :], text)
        groups.append(second)
    tail = TAIL.match(rest)
    if tail is None:
        wrong = next(says.format(found[1]) for pattern, says in AFTER if (found := re.match(pattern, rest)))
        raise ValueError(f'cannot read "{rest}" in "{text}"; {wrong}')
    prompt = Scene(tuple(groups), relation, SKY.get(tail["sky"]), tail["light"], tail["season"])
    return _possible(prompt, text)


def _known(words: list[str]) -> None:
    """Every unknown word is named, with a known one only where that is nearly the same."""
    unknown = [word for word in dict.fromkeys(words) if word not in WORDS]
    if not unknown:
        return
    meant = {word: INSTEAD.get(word) for word in unknown}
    for word in [word for word in unknown if not meant[word]]:
        near = difflib.get_close_matches(word, WORDS, n=1, cutoff=NEAR)
        meant[word] = f'the nearest is "{near[0]}"' if near else None
    says = [f'the word "{word}" is not known here' + (f"; {hint}" if hint else "") for word, hint in meant.items()]
    says += [f"the words are: {', '.join(WORDS)}"] if not all(meant.values()) else []
    raise ValueError("; ".join(says))


def _read_group(rest: str, text: str) -> tuple[Group, str]:
    found = GROUP.match(rest)
    if found is None:
        raise ValueError(f'cannot read "{rest}" in "{text}"; {_what_is_wrong(rest)}, as in {EXAMPLES}')
    count, kind, size, species = COUNTS[found["count"]], found["kind"], found["size"] or "", found["species"]
    if (count > 1) != bool(found["plural"]):
        raise ValueError(f'"{found[0].strip()}": {found["count"]} goes with {kind}{"s" if count > 1 else ""}')
    if size not in SIZES[kind] or (species and kind != "tree"):
        raise ValueError(
            f'"{found[0].strip()}": a {kind} is {SIZES[kind][0]} or {SIZES[kind][2]}; only trees have species'
        )
    return Group(count, size, found["colour"], kind, species), rest[found.end() :]


def _what_is_wrong(rest: str) -> str:
    """Why this is not a group: nothing there, no count, no noun, or an order that the grammar does not have."""
    words = re.split(r" (?:left|right|above|in|by|at|under)\b", f" {rest}")[0].split()
    if not words:
        return "a group of things is missing here"
    if words[0] not in COUNTS:
        return 'how many comes first: "a", "two" or "three"'
    if not any(word.removesuffix("s") in KINDS for word in words):
        return f"say what it is: {', '.join(KINDS[:-1])} or {KINDS[-1]}"
    return ORDER


def _possible(prompt: Scene, text: str) -> Scene:
    kinds, count = [group.kind for group in prompt.groups], sum(group.count for group in prompt.groups)
    if len(set(kinds)) < len(kinds):
        raise ValueError(f'"{text}": the two groups must be of different kinds, both are {kinds[0]}s')
    if count > MOST:
        raise ValueError(f'"{text}": {count} things are too many for one small picture, {MOST} fit')
    if prompt.sky is not None and prompt.light not in LIGHTS[prompt.sky]:
        raise ValueError(f'"{text}": no {prompt.light} in this sky; day has a sun, night a moon, dusk either')
    return prompt
