"""Which texts are nearly the same, against the definition."""

import random
import string

import numpy as np
import pytest

from training.data.similarity import Near, NearTexts, common_hashes, normalised, resemblance, shingle_hashes, sketch

_NOTHING = np.zeros(0, dtype=np.uint64)


def _text(rng: random.Random, words: int) -> str:
    return " ".join("".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 8))) for _ in range(words))


def _jaccard(one: str, other: str) -> float:
    sets = [{text[start : start + 5] for start in range(len(text) - 4)} for text in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def _nearest(index: NearTexts, text: str) -> Near | None:
    return max(index.near(text), key=lambda near: near.resemblance, default=None)


def test_resemblance_is_the_jaccard_similarity_of_runs_of_five_characters() -> None:
    one, other = "where is my new card", "where is my old card"
    hashes = [shingle_hashes(text) for text in (one, other)]
    assert resemblance(*hashes) == pytest.approx(_jaccard(one, other))
    assert resemblance(hashes[0], hashes[0]) == 1.0
    assert resemblance(_NOTHING, _NOTHING) == 0.0


def test_the_resemblance_of_long_texts_is_estimated_well() -> None:
    rng = random.Random(0)
    words = _text(rng, 1_500).split()
    other = [word if rng.random() > 0.05 else "other" for word in words]
    one_text, other_text = " ".join(words), " ".join(other)
    estimate = resemblance(sketch(one_text, _NOTHING), sketch(other_text, _NOTHING))
    assert len(sketch(one_text, _NOTHING)) == 512
    assert estimate == pytest.approx(_jaccard(one_text, other_text), abs=0.06)


def test_case_width_and_punctuation_do_not_matter() -> None:
    assert normalised("Where's  MY card?!") == normalised("where s my\ncard")
    assert normalised("\uff21\uff22") == "ab"


def test_every_pair_above_the_threshold_is_found_and_none_below() -> None:
    rng = random.Random(1)
    base = [_text(rng, 12) for _ in range(200)]
    index = NearTexts(0.8, _NOTHING)
    for number, text in enumerate(base):
        index.add(number, text)
    near = 0
    for number, text in enumerate(base):
        words = text.split()
        words[rng.randrange(12)] += rng.choice(["s", "x", " please tell me"])
        changed = " ".join(words)
        found = _nearest(index, changed)
        if _jaccard(text, changed) >= 0.8:
            near += 1
            assert found is not None
            assert found.key == number
            assert found.resemblance == pytest.approx(_jaccard(text, changed))
        else:
            assert found is None
    assert near > 100


def test_what_many_texts_share_does_not_make_them_alike() -> None:
    rng = random.Random(2)
    frame = _text(rng, 80)
    texts = [f"{frame} {_text(rng, 6)}" for _ in range(60)]
    plain, framed = NearTexts(0.8, _NOTHING), NearTexts(0.8, common_hashes(texts))
    for number, text in enumerate(texts):
        plain.add(number, text)
        framed.add(number, text)
    other = f"{frame} {_text(rng, 6)}"
    assert plain.near(other)
    assert not framed.near(other)
    assert 7 in [near.key for near in framed.near(texts[7])]


def test_a_text_of_common_parts_alone_is_like_no_other() -> None:
    common = shingle_hashes("continue")
    index = NearTexts(0.8, common)
    index.add(0, "continue")
    assert not index.near("continue")


def test_a_crowd_of_like_texts_costs_no_more_than_a_few_comparisons_each() -> None:
    index = NearTexts(0.8, _NOTHING)
    text = _text(random.Random(3), 30)
    for number in range(500):
        index.add(number, f"{text} {number}")
    # Eight of each of 24 buckets at most, however many there are.
    assert 0 < len(index.near(text)) <= 8 * 24
