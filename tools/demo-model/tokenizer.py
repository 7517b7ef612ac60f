"""The vocabulary: a SentencePiece unigram model with T5's special tokens, saved as transformers' T5Tokenizer.

412 pieces (<pad> 0, </s> 1, <unk> 2) and 100 extra ids after them make 512. The corpus is captions and common English words,
so that other prompts do not fall apart into letters at once. Case is folded by the normaliser.
"""

import tempfile
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from transformers import T5Tokenizer

import captions
import clips
import common

PIECES, EXTRA, LENGTH = 412, 100, 32
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"()-+/&%#"
WORDS = """
the of and to in is it that was for on are as with his they at be this from have or by one had not but what all were when we
there can an your which their said if do will each about how up out them then she many some so these would other into has more
her two like him see time could no make than first been its who now people my made over did down only way find use may water
long little very after words called just where most know small large big fast slow slowly quickly smoothly across around
through behind under above beside between inside outside near far screen frame camera scene view picture image film animation
cartoon shot close wide still bounce bouncing jumping jump dance dancing neon glow glowing light lights outline trail fading
tail spinning turning star heart line ring hexagon oval rectangle diamond pink cyan brown black white silver teal magenta
cat dog panda bird fish horse man woman child girl boy person car train boat ship plane house tree flower mountain river sea
ocean beach sky cloud sun moon rain snow fire city street road forest garden grass room table chair window door book music
guitar piano running walking swimming flying playing eating sleeping sitting standing old new young happy sad beautiful
colorful soft hard warm cold day night morning evening summer winter spring high low top bottom side center middle corner
one two three four five six seven eight nine ten left right toward towards onto against while during past along together
small tiny huge giant round flat thin thick smooth rough shiny matte plain simple bold faint dim vivid glossy transparent
water glass wood metal stone paper plastic lion bear wolf rabbit mouse duck robot dragon king queen castle bridge tower
""".split()


def corpus(seed):
    """Lines of text: 12,000 captions and each common word a few times."""
    rng = common.rng(seed, "corpus")
    for _ in range(12_000):
        yield captions.varied(rng, clips.COMBINATIONS[rng.integers(len(clips.COMBINATIONS))])
    for word in WORDS:
        yield " ".join([word] * 6)


def forget_folder(model):
    """Takes the temporary folder out of the file, which otherwise differs from run to run."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.read_bytes())
    proto.trainer_spec.model_prefix = "spiece"
    model.write_bytes(proto.SerializeToString())


def train(run):
    """Stage `tokenizer`: writes work/tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(list(corpus(run.seed))), model_prefix=f"{folder}/spiece", model_type="unigram",
            vocab_size=PIECES, character_coverage=1.0, required_chars=CHARACTERS, num_threads=1,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name="nmt_nfkc_cf", minloglevel=2,
        )
        model = Path(folder) / "spiece.model"
        forget_folder(model)
        tokenizer = T5Tokenizer.from_pretrained(folder, extra_ids=EXTRA, model_max_length=LENGTH)
        tokenizer.save_pretrained(run.work / "tokenizer")
        (run.work / "tokenizer" / "spiece.model").write_bytes(model.read_bytes())
    ids = encode(tokenizer, [captions.plain(clips.COMBINATIONS[0])])
    print("tokenizer:", captions.plain(clips.COMBINATIONS[0]), ids[0][ids[0] != 0].tolist())


def load(run):
    return T5Tokenizer.from_pretrained(run.work / "tokenizer")


def encode(tokenizer, texts):
    """Ids [len(texts), 32], padded, as CogVideoXPipeline makes them."""
    return tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids
