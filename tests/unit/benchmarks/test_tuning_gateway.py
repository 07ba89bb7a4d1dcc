"""Fine-tuning jobs as the benchmarks order and follow them."""

from pathlib import Path

import pytest

from benchmarks.fleet import ServerFailed
from benchmarks.tuning_gateway import Trained, follow, job_recipe, served_rank, version_of
from serving.jobs.orders import JobRequest, check_recipe, full_recipe
from tests.jobs_live import created, jobs_config, live_jobs, told, until_status
from training.tuning.recipe import SftRecipe

RECIPES = ("examples/banking77/recipe.yaml", "examples/json_mode/recipe.yaml")


def test_the_smallest_setting_that_serves_a_rank_is_taken() -> None:
    assert [served_rank(rank) for rank in (1, 7, 16, 17)] == [1, 8, 16, 32]
    with pytest.raises(ValueError, match="rank 513"):
        served_rank(513)


@pytest.mark.parametrize("path", RECIPES)
def test_a_job_is_told_everything_that_an_example_chooses(path: str) -> None:
    recipe = SftRecipe.load(Path(path))
    request = JobRequest("base", "file-1", "supervised", {}, "file-2", recipe=job_recipe(recipe))
    check_recipe(request, served_rank(recipe.rank))
    orders = full_recipe(request, adapter=recipe.name, base_model=recipe.base_model, seed=recipe.seed, max_rank=512)
    elsewhere = {"train", "heldout"}
    assert SftRecipe(**orders).model_dump(exclude=elsewhere) == recipe.model_dump(exclude=elsewhere)


async def test_every_event_of_a_job_is_followed_once_and_in_order(tmp_path: Path) -> None:
    async with live_jobs(jobs_config(tmp_path), tmp_path) as live, live.sdk() as client:
        job = await created(client, steps=3)
        followed = [event.message async for event in follow(client, job.id, look_s=0.02)]
        assert followed == await told(client, job.id)
        assert version_of(await client.fine_tuning.jobs.retrieve(job.id)).startswith("cards@")


async def test_a_job_that_made_nothing_is_a_failure_that_says_so(tmp_path: Path) -> None:
    async with live_jobs(jobs_config(tmp_path), tmp_path) as live, live.sdk() as client:
        job = await created(client, hold_at=1)
        await client.fine_tuning.jobs.cancel(job.id)
        cancelled = await until_status(client, job.id, "cancelled")
    with pytest.raises(ServerFailed, match="the job cancelled"):
        version_of(cancelled)


def test_the_report_of_a_training_has_its_wall_time_beside_that_of_the_optimiser() -> None:
    measured = {
        "train": {"rows": 10, "tokens": 400},
        "seconds": 60.0,
        "steps": 5,
        "train_loss": 0.5,
        "heldout_loss_base": None,
        "heldout_loss": None,
        "heldout_accuracy": None,
        "tokens_per_second": 6.7,
        "peak_memory_bytes": 2**30,
    }
    report = Trained("job", "a@1", 90.0, measured, Path("adapter")).report()
    assert (report["minutes"], report["optimiser_minutes"], report["peak_memory_mib"]) == (1.5, 1.0, 1024)
