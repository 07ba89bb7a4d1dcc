"""How an index was made, and whether it would be made so again."""

from serving.knowledge.recipes import Recipe
from serving.settings.knowledge import ChunkingSettings, EmbedderSettings


def _recipe(fingerprint: str = "f1", *, max_tokens: int | None = None, batch_size: int = 32) -> Recipe:
    return Recipe(EmbedderSettings(batch_size=batch_size), fingerprint, ChunkingSettings(max_tokens=max_tokens))


def test_a_recipe_is_read_as_it_was_written() -> None:
    recipe = _recipe(max_tokens=64)
    assert Recipe.read(recipe.written()) == recipe


def test_what_an_older_or_newer_version_wrote_besides_is_passed_over() -> None:
    written = _recipe().written().replace('"chunking": {', '"chunking": {"gone": 1, ')
    assert Recipe.read(written) == _recipe()


def test_another_model_or_another_way_of_cutting_makes_another_index() -> None:
    assert _recipe().makes_the_same(_recipe(batch_size=8))
    assert not _recipe().makes_the_same(_recipe("f2"))
    assert not _recipe().makes_the_same(_recipe(max_tokens=64))
