"""Which questions count as won and lost, and in which order."""

from __future__ import annotations

from art.evaluation.rankings import KeptPassage, KeptRanking
from art.report.changes import won_and_lost


def ranking(
    name: int,
    first_hit: int | None,
    *,
    labelled: bool = True,
    metric: str = "likelihood",
    value: float = 0,
):
    hit = first_hit == 1 if labelled else None
    passage = KeptPassage(id="p", title="", text="", score=1.0, hit=hit)
    metrics = {"top_5": float(bool(first_hit))} if labelled else {metric: value}
    return KeptRanking(
        id=str(name), question="?", metrics=metrics, depth=100, first_hit=first_hit,
        passages=(passage,),
    )  # fmt: skip


def changes(ranks) -> tuple[list[str], list[str]]:
    before = [ranking(i, first) for i, (first, _) in enumerate(ranks)]
    after = [ranking(i, last) for i, (_, last) in enumerate(ranks)]
    won, lost = won_and_lost(before, after, "top_5")
    return [one.before.id for one in won], [one.before.id for one in lost]


def test_ratios_of_ranks_decide_and_a_miss_is_behind_the_last() -> None:
    # 0: 2 times better; 1: 101 times; 2: the same; 3: 1.4 times worse; 4: 3 times worse
    assert changes([(4, 2), (None, 1), (3, 3), (72, None), (1, 3)]) == (["1", "0"], ["4", "3"])


def test_equal_changes_stay_in_the_order_of_the_questions() -> None:
    assert changes([(2, 1)] * 7) == (["0", "1", "2", "3", "4"], [])


def test_a_change_says_both_ranks() -> None:
    (won,), _ = won_and_lost([ranking(0, None)], [ranking(0, 3)], "top_5")
    assert won.said == "first hit: not in the first 100 → rank 3"


def test_without_labels_the_metric_decides() -> None:
    before = [ranking(i, None, labelled=False, value=value) for i, value in enumerate((-3, -2))]
    after = [ranking(i, None, labelled=False, value=value) for i, value in enumerate((-1, -2.5))]
    won, lost = won_and_lost(before, after, "likelihood")
    assert [one.said for one in (*won, *lost)] == [
        "likelihood: -3.000 → -1.000",
        "likelihood: -2.000 → -2.500",
    ]


def test_where_lower_is_better_a_fall_is_a_gain() -> None:
    name = "pooled_average_rank"
    before, after = (
        [ranking(i, None, labelled=False, metric=name, value=value) for i, value in enumerate(both)]
        for both in ((5, 2, 3), (4, 6, 3))
    )
    won, lost = won_and_lost(before, after, name)
    assert [one.said for one in won] == ["pooled average rank: 5.000 → 4.000"]
    assert [one.said for one in lost] == ["pooled average rank: 2.000 → 6.000"]
