"""Ids that transformers' T5Tokenizer gives, for the tests of the tokenizer in shared/models.

    python tools/reference/tokenizer.py train
        trains the small SentencePiece model tests/data/tokenizer/multilingual.model on the lines of CORPUS (no
        normalization: the tests put another model's character map beside it).
    python tools/reference/tokenizer.py expect
        writes tests/data/tokenizer.json from that model and from demo/model/tokenizer.
    python tools/reference/tokenizer.py expect --tokenizer DIR --output FILE --random 5000
        the same schema for any folder with spiece.model and tokenizer.json, for example a full-size one: run the tests
        with COGWHEEL_T5_TOKENIZER_DIR=DIR and COGWHEEL_T5_TOKENIZER_EXPECTED=FILE.

Each folder of the output is a checkpoint's `tokenizer/` put together from the named vocabulary files and the given settings
files. Its ids are those of `T5Tokenizer.from_pretrained(folder)(text, padding="max_length", max_length=N, truncation=True,
add_special_tokens=True)`, written without the padding at their end; `lengths` counts the tokens without truncation. Texts are
fixed ones and seeded random ones, all made here. Made with transformers 5.23.0 and tokenizers 0.23.3; deterministic.
"""

import argparse
import json
import os
import random
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from transformers import T5Tokenizer

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
DEMO = ROOT / "demo" / "model" / "tokenizer"
MULTILINGUAL = DATA / "tokenizer" / "multilingual.model"
SEED = 20240

# Pieces of several scripts, so that other ids than the unknown one come out of hard texts.
CORPUS = [
    "the quick brown fox jumps over the lazy dog and a panda plays the guitar in a bamboo forest",
    "a wooden toy ship with intricately carved masts glides over a plush blue carpet",
    "el niño pequeño corre por la montaña, ¿dónde está la señora?",
    "der große Bär läuft über die Straße, während es schneit",
    "le cœur naïf de l'été, ça va déjà mieux",
    "быстрая коричневая лиса прыгает через ленивую собаку",
    "η γρήγορη αλεπού πηδάει πάνω από το σκυλί",
    "一只熊猫在竹林里弹吉他。",
    "素早い茶色の狐がのろまな犬を飛び越える。カタカナ",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다",
    "الثعلب البني السريع يقفز فوق الكلب الكسول",
    "השועל החום המהיר קופץ מעל הכלב העצלן",
    "तेज भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है",
    "สุนัขจิ้งจอกสีน้ำตาล",
    "0 1 2 3 4 5 6 7 8 9 10 16 24 49 720 480 1360 768 3.14 1,000 50% $5 #1",
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
    "( ) [ ] { } < > / \\ | _ - + = * & ^ ~ ` ' \" ! ? . , ; : @",
    "e\u0301 a\u0308 o\u0302 fi ff TM ½ ² ™ ﬁ Å Å",
    "😀 🎬 👩‍👩‍👧 🏳️‍🌈 🇫🇷 👍🏽 ❤️",
]

FIXED_TEXTS = [
    "",
    " ",
    "   ",
    "\t\n\r ",
    "a",
    "a red circle moving left on a dark background",
    "A Red CIRCLE moving LEFT on a dark background.",
    "  leading and trailing  ",
    "repeated    spaces \t tabs\nand\r\nnew\n\nlines",
    "the quick brown fox; a panda's guitar (50% off!), 1,000 \u20ac",
    "e\u0301 a\u0308\u0304 \u0301 n\u0303n\u0303 q\u0307\u0323 Z\u0351\u036b\u0343",
    "\u0301starts with a mark",
    "\u00e9 \u00c5 \u212b A\u030a \ufb01 \ufb03 \u2122 \u00bd \u00b2 \u2460 \u33a5 \u0132",
    "\U0001f600\U0001f3ac \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fd \u2764\ufe0f",
    "\u4e00\u53ea\u718a\u732b\u5728\u7af9\u6797\u91cc\u5f39\u5409\u4ed6\u3002",
    "\u7d20\u65e9\u3044\u8336\u8272\u306e\u72d0 \uff76\uff9e\uff80\uff76\uff85 \u30ab\u3099",
    "\ube60\ub978 \u1100\u1161\u11a8 \u3131\u314f",
    "\u0627\u0644\u062b\u0639\u0644\u0628 \u0627\u0644\u0628\u064f\u0646\u0651\u064a \ufefb \ufdfa",
    "\u05d4\u05e9\u05d5\u05e2\u05dc \u202eabc\u202c \u200fdef\u200e \u2066x\u2069",
    "\u0924\u0947\u091c \u092d\u0942\u0930\u0940 \u0915\u094d\u0937 \u0e19\u0e49\u0e33",
    "\uff26\uff55\uff4c\uff4c \uff57\uff49\uff44\uff54\uff48\u3000\uff11\uff12\uff13\uff01 \uff1c/s\uff1e \uff1cpad\uff1e",
    "nul\x00in \x00 the\x00\x00middle",
    "\x01\x02\x07\x08\x0b\x0c\x1b\x1c\x1d\x1e\x1f\x7f\x80\x85\x9f controls \x01 a\x1eb",
    "soft\u00adhyphen \u00ad\u00ad start\u00ad",
    "\ufeffbyte order\ufeff mark \ufeff",
    "\ufffd replacement \ufffd\ufffd",
    "zero\u200bwidth \u200c\u200d\u2060 joiners\u034f",
    "\u00a0no\u00a0break\u2002en\u2003em\u2009thin\u202fnarrow\u205fmath\u3000wide\u1680ogham\u2028line\u2029para\u180e",
    "\u0378 \u0557unassigned \U000e0080 \U0003fffd \uffff \ufdd0 \U0010ffff \ue000 \U000f0000",
    "\u2581", "\u2581\u2581", "a\u2581b", "\u2581 a \u2581b\u2581", " \u2581x",
    "<extra_id_0>", "a <extra_id_0> b", "a<extra_id_0>b", "  <extra_id_0>  ", "x  <extra_id_99>\t\ny", "<extra_id_0><extra_id_1> <extra_id_2>",
    "<extra_id_100>", "<extra_id_>", "<extra_id_0", "<EXTRA_ID_0>", "<extra_id_00>", "< extra_id_0 >",
    "</s>", "a </s> b", "a</s>b", "</s></s>", "<pad>", "a <pad> b", "<pad>  <pad>", "<unk>", "a <unk> b", "a<unk>b", "<s>", "<S>", "<PAD>", "</S>",
    "</s", "/s>", "<</s>>", "<pa<pad>d>", "\u00ad</s>\u00ad", "e<pad>\u0301", "\u200b<unk>\u200b", "\u0301</s>\u0301x",
    "\u2581<pad>\u2581", "</s>\u2581a", "</s> \u2581a",
    "token token2 <mask>word maskable <mask> Caf\u00e9 CAF\u00c9 caf\u00e9s",
    "https://example.com/a_b?c=d&e=%20f#g",
    "word" * 60,
    "\u0e01" * 40 + "\U0001f600" * 40,
    "a\u0301" * 50,
    "a" + "\u0301" * 60,
    "supercalifragilisticexpialidocious " * 8,
]

# Long texts are stored as a unit and a count.
LONG_TEXTS = [
    ("a red circle moving left ", 400),
    ("x", 10_000),
    (" ", 10_000),
    ("\u2581", 10_000),
    ("e\u0301\u00ad ", 2_500),
    ("<extra_id_7> ", 1_000),
    ("\u718a\u732b", 5_000),
    ("panda\n\t guitar\x00\U0001f600 ", 6_000),
]

FRAGMENTS = [
    *"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789.,;:!?'\"()[]{}<>/\\|_-+=*&^%$#@~`",
    *[" "] * 12, "  ", "    ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u00a0", "\u1680", "\u2000", "\u2003",
    "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u180e",
    "\x00", "\x01", "\x08", "\x10", "\x1a", "\x1b", "\x7f", "\x80", "\x8d", "\x8f", "\x9f",
    "\u0301", "\u0308", "\u0303", "\u0323", "\u0327", "\u0345", "\u034f", "\u036b", "\u0489", "\u0651", "\u064f", "\u0670", "\u093c", "\u094d", "\u0e49", "\u0e33",
    "\u1dc4", "\u20d0", "\u20e3", "\u3099", "\u309a", "\ufe0f", "\ufe0e", "\ufe20", "\U000e0100", "\U000e0061", "\U000e007f",
    "\u00ad", "\u061c", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u202c", "\u202e", "\u2060", "\u2066", "\u2069", "\ufeff", "\ufff9", "\ufffc", "\ufffd",
    "\u2581", "\u2581", "\u2581", "\u2582", "\u2588",
    "\u0378", "\u0557", "\u2065", "\ufdd0", "\uffff", "\ufffe", "\U0003fffd", "\U0010ffff", "\ue000", "\U000f0000", "\U0001fffe",
    "\u00e9", "\u00e0", "\u00f1", "\u00df", "\u00c5", "\u212b", "\u0153", "\u0130", "\u0131", "\u017f", "\u01c4", "\u1e9b", "\ufb01", "\ufb03", "\u2122", "\u00bd", "\u00b2", "\u2460", "\u33a5", "\u0132",
    "\u2126", "\u03a9", "\u03c2", "\u0390", "\u1f88", "\u1fe4", "\u0434", "\u0436", "\u0439", "\u0451",
    "\u05d0", "\u05e9\u05c1", "\ufb2a", "\u0627", "\u0644\u0627", "\ufefb", "\ufdfa", "\u0660", "\u0915", "\u0937", "\u0958", "\u0e01", "\u0e40",
    "\u4e00", "\u718a", "\u732b", "\u3002", "\u3042", "\u30ab", "\u30ac", "\uff76", "\uff9e", "\uff71", "\uac00", "\ube60", "\u1100", "\u1161", "\u11a8", "\u3131", "\uffa1", "\U00020000", "\uf900", "\U0002f800",
    "\uff21", "\uff41", "\uff11", "\uff1c", "\uff1e", "\uff0f", "\uff3f", "\uff5e", "\u301c", "\u2212", "\u2015", "\uffe3", "\u00af", "\u00b4", "\u2018", "\u201d", "\u2026", "\u22ef",
    "\U0001f600", "\U0001f3ac", "\U0001f469", "\U0001f3fd", "\U0001f1eb", "\U0001f1f7", "\u2764", "\U0001f469\u200d\U0001f4bb", "\U0001f3f3\ufe0f\u200d\U0001f308", "1\ufe0f\u20e3",
    "\U0001d400", "\U0001d7ff", "\U0001d15e", "\U0001f100", "\u0958", "\u2adc", "\U0001113c",
    "<extra_id_0>", "<extra_id_42>", "<extra_id_99>", "<extra_id_", "<extra_id_100>", "</s>", "</s>", "<pad>", "<pad>", "<unk>", "<unk>", "<s>", "</s", "<pa", "<mask>", "caf\u00e9",
    "the ", "panda", " guitar", "circle", " moving", "ing", "quick brown ", "\u043b\u0438\u0441\u0430", "ni\u00f1o",
]


def added(content, **flags):
    token = {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return token | flags


def published_config(pieces):
    """The settings as the published CogVideoX checkpoints have them: extra ids take the white space beside them."""
    decoder = {"0": added("<pad>"), "1": added("</s>"), "2": added("<unk>")}
    for index in range(100):
        decoder[str(pieces + index)] = added(f"<extra_id_{99 - index}>", lstrip=True, rstrip=True)
    return {
        "added_tokens_decoder": decoder,
        "additional_special_tokens": [f"<extra_id_{index}>" for index in range(100)],
        "clean_up_tokenization_spaces": True,
        "eos_token": "</s>",
        "extra_ids": 100,
        "legacy": True,
        "model_max_length": 226,
        "pad_token": "<pad>",
        "sp_model_kwargs": {},
        "tokenizer_class": "T5Tokenizer",
        "unk_token": "<unk>",
    }


def legacy_files(pieces):
    """Settings as transformers wrote them before `added_tokens_decoder`: three files."""
    return {
        "tokenizer_config.json": {"extra_ids": 100, "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
        "special_tokens_map.json": {
            "extra_special_tokens": [f"<extra_id_{index}>" for index in range(50)],
            "eos_token": added("</s>", rstrip=True),
            "pad_token": "<pad>",
            "unk_token": added("<unk>", lstrip=True),
        },
        "added_tokens.json": {"<extra_id_0>": pieces + 99, "panda": pieces + 100},
    }


def odd_config(pieces):
    """Every setting that changes ids, away from its default."""
    return {
        "added_tokens_decoder": {
            "0": added("<pad>", lstrip=True),
            str(pieces + 3): added("<mask>", single_word=True, rstrip=True),
            str(pieces + 1): added("caf\u00e9", normalized=True, special=False),
        },
        "extra_ids": 3,
        "extra_special_tokens": ["<extra_id_1>", {"__type": "AddedToken", **added("guitar", normalized=True, lstrip=True)}],
        "bos_token": "<s>",
        "image_token": "\U0001f3ac",
        "eos_token": "</s>",
        "padding_side": "left",
        "truncation_side": "left",
    }


def split_config(_pieces):
    return {"split_special_tokens": True, "extra_special_tokens": {"video_token": "<video>"}}


def vocabulary_files(root):
    """Bytes of each vocabulary, by the name the tests know it by."""
    files = {"spiece": (root / "spiece.model").read_bytes(), "json": (root / "tokenizer.json").read_bytes()}
    if root == DEMO:
        normalizer = sentencepiece_model_pb2.ModelProto()
        model = sentencepiece_model_pb2.ModelProto.FromString(files["spiece"])
        normalizer.normalizer_spec.precompiled_charsmap = model.normalizer_spec.precompiled_charsmap
        files["multilingual"] = MULTILINGUAL.read_bytes()
        # Fields of a message that follow replace or extend it: the same pieces with the demo model's character map.
        # Required fields are none, so the partial message alone is valid.
        files["multilingual_normalized"] = files["multilingual"] + normalizer.SerializePartialToString()
    return files


def folders(root):
    files = vocabulary_files(root)
    pieces = len(sentencepiece_model_pb2.ModelProto.FromString(files["spiece"]).pieces)
    own = root / "tokenizer_config.json"
    plans = [
        ("spiece.model alone", ["spiece"], {}, 32),
        ("tokenizer.json alone", ["json"], {}, 32),
        ("published settings", ["spiece"], {"tokenizer_config.json": published_config(pieces)}, 226),
    ]
    if own.exists():
        plans.append(("own settings", ["spiece", "json"], {"tokenizer_config.json": json.loads(own.read_text())}, 32))
    if root == DEMO:
        count = len(sentencepiece_model_pb2.ModelProto.FromString(files["multilingual"]).pieces)
        plans += [
            ("tokenizer.json wins", ["multilingual", "json"], {}, 16),
            ("no character map", ["multilingual"], {}, 48),
            ("character map", ["multilingual_normalized"], {}, 48),
            ("character map and published settings", ["multilingual_normalized"], {"tokenizer_config.json": published_config(count)}, 48),
            ("legacy settings", ["multilingual_normalized"], legacy_files(count), 16),
            ("legacy settings over tokenizer.json", ["json"], legacy_files(pieces), 16),
            ("odd settings", ["multilingual_normalized"], {"tokenizer_config.json": odd_config(count)}, 12),
            ("odd settings over tokenizer.json", ["json"], {"tokenizer_config.json": odd_config(pieces)}, 12),
            ("special tokens split", ["multilingual"], {"tokenizer_config.json": split_config(count)}, 24),
            ("one token", ["spiece"], {}, 1),
        ]
    return files, plans


def random_text(rng):
    style = rng.random()
    pool = FRAGMENTS if style < 0.6 else rng.sample(FRAGMENTS, rng.randint(2, 12))
    parts = [rng.choice(pool) for _ in range(rng.randint(1, 40))]
    if style > 0.9:
        # Any code points at all, but for surrogates.
        points = (rng.choice([rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x110000)]) for _ in range(20))
        parts += [chr(point) for point in points if not 0xD800 <= point < 0xE000]
    return "".join(parts)


def expect(root, output, count, seed):
    files, plans = folders(root)
    rng = random.Random(seed)
    texts = [{"text": text} for text in FIXED_TEXTS]
    texts += [{"text": unit, "repeat": repeat} for unit, repeat in LONG_TEXTS]
    texts += [{"text": random_text(rng)} for _ in range(count)]
    result = {"texts": texts, "folders": []}
    for name, vocabularies, settings, max_length in plans:
        with tempfile.TemporaryDirectory() as directory:
            for vocabulary in vocabularies:
                file = "tokenizer.json" if vocabulary == "json" else "spiece.model"
                (Path(directory) / file).write_bytes(files[vocabulary])
            for file, content in settings.items():
                (Path(directory) / file).write_text(json.dumps(content))
            tokenizer = T5Tokenizer.from_pretrained(directory)
        ids, lengths = [], []
        for item in texts:
            text = item["text"] * item.get("repeat", 1)
            row = tokenizer(text, padding="max_length", max_length=max_length, truncation=True, add_special_tokens=True).input_ids
            lengths.append(len(tokenizer(text).input_ids))
            assert len(row) == max_length
            kept = min(lengths[-1], max_length)
            left = tokenizer.padding_side == "left"
            padding, row = (row[: max_length - kept], row[max_length - kept :]) if left else (row[kept:], row[:kept])
            assert all(token == tokenizer.pad_token_id for token in padding)
            ids.append(row)
        result["folders"].append(
            {
                "name": name,
                "vocabularies": vocabularies,
                "settings": settings,
                "max_length": max_length,
                "vocab_size": len(tokenizer),
                "pad_id": tokenizer.pad_token_id,
                "pad_left": tokenizer.padding_side == "left",
                "lengths": lengths,
                "ids": ids,
            }
        )
    output.write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(f"{output}: {len(texts)} texts, {len(plans)} folders, {output.stat().st_size} bytes")


def train():
    MULTILINGUAL.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory) / "corpus.txt"
        corpus.write_text("\n".join(CORPUS * 4) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=str(Path(directory) / "model"), model_type="unigram", vocab_size=520,
            character_coverage=1.0, normalization_rule_name="identity", hard_vocab_limit=False, num_threads=1,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, user_defined_symbols=["brown", "\u718a"], minloglevel=2,
        )
        model = sentencepiece_model_pb2.ModelProto.FromString((Path(directory) / "model.model").read_bytes())
    # The path of the corpus is no part of the model.
    model.trainer_spec.ClearField("input")
    model.trainer_spec.ClearField("model_prefix")
    MULTILINGUAL.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{MULTILINGUAL}: {len(model.pieces)} pieces, {MULTILINGUAL.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("train")
    command = commands.add_parser("expect")
    command.add_argument("--tokenizer", type=Path, default=DEMO)
    command.add_argument("--output", type=Path, default=DATA / "tokenizer.json")
    command.add_argument("--random", type=int, default=120)
    command.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    if arguments.command == "train":
        train()
    else:
        expect(arguments.tokenizer.resolve(), arguments.output, arguments.random, arguments.seed)


if __name__ == "__main__":
    main()
