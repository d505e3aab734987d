"""core/books/alerts.py: an alert is raised once, and kept until it is taken, over both databases."""

from __future__ import annotations

import asyncio

from turnout.core.books.alerts import Alert, Delivery, Sent, alert_told, claim, failed, latest, raise_alert, taken

ALERT = Alert("user:*/anna", 100, "80%", 900, "user", "anna", 1000, 800, 815, 500)
NINETY = Alert("user:*/anna", 100, "90%", None, "user", "anna", 1000, 900, 915, 501)


async def test_an_alert_is_raised_once_for_a_period_and_a_mark(databases):
    """Whichever writer says so first, and however many do at the same time."""
    several = [await databases() for _ in range(3)]
    told = await asyncio.gather(*(one.write(lambda: raise_alert(ALERT, ["webhook"])) for one in several))
    assert [False, False, True] == sorted(told)
    assert 1 == len(await several[0].read(lambda: latest(9)))
    assert await several[0].write(lambda: raise_alert(NINETY, []))


async def test_a_delivery_is_claimed_by_one_until_its_time(databases):
    """Then by another: who claimed it may be dead. Other channels have their own."""
    first, second = await databases(), await databases()
    await first.write(lambda: raise_alert(ALERT, ["webhook", "mail"]))
    assert [] == await first.write(lambda: claim("webhook", 499, 560, 9))
    both = await asyncio.gather(*(one.write(lambda: claim("webhook", 500, 560, 9)) for one in (first, second)))
    assert [[], [Delivery(ALERT, "webhook", 1)]] == sorted(both, key=len)
    assert [] == await second.write(lambda: claim("webhook", 559, 620, 9))
    assert [Delivery(ALERT, "webhook", 2)] == await second.write(lambda: claim("webhook", 560, 620, 9))
    assert [Delivery(ALERT, "mail", 1)] == await second.write(lambda: claim("mail", 560, 620, 9))


async def test_a_delivery_that_another_claims_first_is_not_claimed(database):
    """Between looking and claiming."""
    await database.write(lambda: raise_alert(ALERT, ["webhook"]))
    looking = claim("webhook", 500, 560, 9)
    due = await database.read(lambda: asked(next(looking)))
    await database.write(lambda: claim("webhook", 500, 560, 9))

    def late():
        statement = looking.send(due)
        rows = yield statement
        try:
            looking.send(rows)
        except StopIteration as end:
            return end.value

    assert [] == await database.write(late)


def asked(statement):
    """The rows of one statement."""
    return list((yield statement))


async def test_what_is_taken_is_sent_no_more_and_what_failed_is_tried_again(database):
    """With the last problem told. The earliest goes first, and no more than are wanted."""
    await database.write(lambda: raise_alert(NINETY, ["webhook"]))
    await database.write(lambda: raise_alert(ALERT, ["webhook"]))
    (one,) = await database.write(lambda: claim("webhook", 600, 660, 1))
    (two,) = await database.write(lambda: claim("webhook", 600, 660, 1))
    assert (ALERT, NINETY) == (one.alert, two.alert)
    await database.write(lambda: taken(one, 601))
    await database.write(lambda: failed(two, 610, "no route"))
    assert [two.alert] == [
        again.alert for again in await database.write(lambda: claim("webhook", 10**9, 10**9 + 60, 9))
    ]
    assert [Sent(NINETY, "webhook", 2, None, "no route"), Sent(ALERT, "webhook", 1, 601)] == await database.read(
        lambda: latest(9)
    )


async def test_an_alert_that_nobody_is_told_is_kept(database):
    """It can be looked up; the youngest come first."""
    await database.write(lambda: raise_alert(ALERT, []))
    await database.write(lambda: raise_alert(NINETY, []))
    assert [Sent(NINETY), Sent(ALERT)] == await database.read(lambda: latest(9))
    assert [Sent(NINETY)] == await database.read(lambda: latest(1))


def test_an_alert_is_told_with_its_money_in_both_forms():
    """For programs and for people."""
    told = alert_told(Sent(ALERT))
    assert ("user:*/anna", "user", "80%", 1000, "0.000001") == (
        told["budget"],
        told["scope"],
        told["mark"],
        told["limit_nano_usd"],
        told["limit_usd"],
    )
