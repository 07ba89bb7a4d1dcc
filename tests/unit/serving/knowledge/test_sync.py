"""What a sync uploads and removes."""

from serving.knowledge.sync import Held, SyncPlan, sync_attributes

ORIGIN = "/docs"


def _held(source: str, digest: str = "d1", origin: str = ORIGIN, *, failed: bool = False) -> Held:
    return Held(f"file-{source}", digest, sync_attributes(source, origin, ()), failed=failed)


def test_only_what_is_new_changed_or_described_anew_is_wanted() -> None:
    plan = SyncPlan.over([_held("same"), _held("changed"), _held("labelled"), _held("failed", failed=True)], ORIGIN)
    assert not plan.wants("same", "d1", sync_attributes("same", ORIGIN, ()))
    assert plan.wants("changed", "d2", sync_attributes("changed", ORIGIN, ()))
    assert plan.wants("labelled", "d1", sync_attributes("labelled", ORIGIN, ("hr",)))
    assert plan.wants("failed", "d1", sync_attributes("failed", ORIGIN, ()))
    assert plan.wants("new", "d1", sync_attributes("new", ORIGIN, ()))
    assert plan.gone() == []


def test_what_is_not_there_any_more_is_gone_unless_it_came_from_elsewhere() -> None:
    plan = SyncPlan.over([_held("kept"), _held("removed"), _held("other", origin="/elsewhere")], ORIGIN)
    plan.wants("kept", "d1", {})
    assert [one.file_id for one in plan.gone()] == ["file-removed"]


def test_what_cannot_be_read_now_is_not_gone() -> None:
    plan = SyncPlan.over([_held("a/b/one"), _held("a/b/two"), _held("a/c"), _held("d")], ORIGIN)
    plan.keep("a/b/")
    plan.keep("d")
    assert [one.file_id for one in plan.gone()] == ["file-a/c"]


def test_a_folder_that_cannot_be_read_at_all_loses_nothing() -> None:
    plan = SyncPlan.over([_held("a"), _held("b/c")], ORIGIN)
    plan.keep("/")
    assert plan.gone() == []


def test_a_document_that_somebody_else_put_there_is_left_alone() -> None:
    plan = SyncPlan.over([Held("file-1", "d1", {}), Held("file-2", "d1", {"source": "x"})], ORIGIN)
    assert plan.gone() == []


def test_attributes_name_the_labels_in_one_order() -> None:
    assert sync_attributes("a", ORIGIN, ("it", "hr"), {"team": "core"}) == {
        "team": "core",
        "source": "a",
        "origin": ORIGIN,
        "labels": "hr, it",
    }


def test_a_flag_is_not_a_number() -> None:
    held = Held("file-1", "d1", sync_attributes("a", ORIGIN, (), {"draft": 1.0}))
    assert SyncPlan.over([held], ORIGIN).wants("a", "d1", sync_attributes("a", ORIGIN, (), {"draft": True}))
    assert not SyncPlan.over([held], ORIGIN).wants("a", "d1", sync_attributes("a", ORIGIN, (), {"draft": 1}))
