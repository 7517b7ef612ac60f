"""English for a scene, in many wordings.

`plain` is the sentence of the README; `varied` draws articles, synonyms, verbs, word order and what is left out at random,
so that the model learns to listen to words and not to one sentence.
"""

COLORS = {
    "red": ["red"] * 6 + ["bright red", "crimson"], "green": ["green"] * 6 + ["bright green", "emerald"],
    "blue": ["blue"] * 6 + ["bright blue", "deep blue"], "yellow": ["yellow"] * 6 + ["bright yellow", "golden"],
    "purple": ["purple"] * 6 + ["violet", "bright purple"], "orange": ["orange"] * 6 + ["bright orange", "tangerine"],
}
SHAPES = {
    "circle": ["circle"] * 4 + ["ball", "ball", "disc", "disk", "round shape", "dot"],
    "square": ["square"] * 4 + ["box", "box", "block", "cube", "square shape"],
    "triangle": ["triangle"] * 4 + ["pyramid", "pyramid", "triangular shape", "wedge"],
}
VERBS = [  # (participle, present); the participle follows the noun, the present makes a sentence
    ("moving", "moves"), ("moving", "moves"), ("moving", "moves"), ("moving", "is moving"), ("drifting", "drifts"),
    ("going", "goes"), ("sliding", "slides"), ("gliding", "glides"), ("floating", "floats"), ("traveling", "travels"),
    ("travelling", "travels"), ("heading", "heads"), ("flying", "flies"), ("drifting", "is drifting"),
    ("sliding", "is sliding"), ("rolling", "rolls"),
]
WAYS = {
    "left": ["left"] * 4 + ["to the left", "to the left", "leftward", "leftwards", "towards the left", "toward the left side",
                            "from right to left", "from the right to the left"],
    "right": ["right"] * 4 + ["to the right", "to the right", "rightward", "rightwards", "towards the right",
                              "toward the right side", "from left to right", "from the left to the right"],
    "up": ["up"] * 4 + ["upward", "upwards", "to the top", "towards the top", "from bottom to top", "up the screen"],
    "down": ["down"] * 4 + ["downward", "downwards", "to the bottom", "towards the bottom", "from top to bottom",
                            "down the screen"],
}
ALONE = {"up": [("rising", "rises"), ("climbing", "climbs"), ("ascending", "ascends")],
         "down": [("falling", "falls"), ("sinking", "sinks"), ("descending", "descends"), ("dropping", "drops")]}
GROUNDS = {"dark": ["dark"] * 6 + ["black", "very dark"], "gray": ["gray"] * 4 + ["grey"] * 3 + ["neutral gray"],
           "light": ["light"] * 5 + ["white", "bright", "pale"]}
BACKDROPS = ["background"] * 5 + ["backdrop"] * 2
PREPOSITIONS = ["on"] * 5 + ["against", "over", "with", "in front of"]
PREFIXES = [""] * 9 + ["a video of ", "a clip of ", "a short clip showing ", "a short video of ", "we see "]


def article(word):
    return "an" if word[0] in "aeiou" else "a"


def plain(combination):
    """"a red circle moving left on a dark background"."""
    color, shape, direction, background = combination
    return f"{article(color)} {color} {shape} moving {direction} on a {background} background"


def varied(rng, combination, complete=False, order=0.0):
    """One of very many wordings.

    Unless `complete`, one caption in eight leaves something out, so that it may be anything. `order` is the share of captions
    that name both ends of the way ("from left to right"), beyond those that do by chance: only the order of the words tells.
    """
    pick = lambda options: options[rng.integers(len(options))]
    color, shape, direction, background = combination
    ordered = order > 0 and rng.random() < order
    if not ordered and rng.random() < 0.25:
        return plain(combination)
    missing = rng.choice(["color", "shape", "direction", "background", ""], p=[0.02, 0.02, 0.02, 0.07, 0.87])
    missing = "" if complete else missing
    color = "" if missing == "color" else pick(COLORS[color]) + " "
    noun = "shape" if missing == "shape" else pick(SHAPES[shape])
    thing = color + noun
    first = pick([article(thing)] * 5 + ["the", "one"])
    subject = f"{first} {thing}" if rng.random() < 0.92 else thing

    if ordered:
        verb, way = pick(VERBS), " " + pick([way for way in WAYS[direction] if way.startswith("from")])
    elif direction in ALONE and rng.random() < 0.15:
        verb, way = pick(ALONE[direction]), ""
    else:
        verb, way = pick(VERBS), " " + pick(WAYS[direction])
    ground = pick(GROUNDS[background])
    backdrop = pick(BACKDROPS)
    where = f"{pick(PREPOSITIONS)} {article(ground)} {ground} {backdrop}"
    motion = "" if missing == "direction" else " " + verb[rng.integers(2)] + way
    if missing == "background":
        text = pick(PREFIXES) + subject + motion
    else:
        layout = rng.random()
        if layout < 0.70:
            text = f"{pick(PREFIXES)}{subject}{motion} {where}"
        elif layout < 0.82:
            text = f"{where}, {subject}{motion}"
        elif layout < 0.90:
            text = f"{ground} {backdrop}, {thing},{motion or ' still'}"
        else:
            text = f"{subject}{motion}, {ground} {backdrop}"
    text = text[0].upper() + text[1:] if rng.random() < 0.3 else text
    return text + ("." if rng.random() < 0.3 else "")


def simpler(text, combination):
    """`text` with both ends of the way ("from left to right") replaced by one ("to the right")."""
    direction = combination[2]
    for way in sorted(set(WAYS[direction]), key=len, reverse=True):
        if way.startswith("from"):
            text = text.replace(way, WAYS[direction][4])
    return text
