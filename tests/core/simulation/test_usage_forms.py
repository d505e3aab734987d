"""Sound and unsound ways to spell a usage."""

import pytest

from turnout.core.simulation.usage_forms import FORMS, forms_of

COUNTS = {"prompt_tokens": 10, "completion_tokens": 6}


def test_a_sound_vendor_tells_it_once() -> None:
    """No form, one true usage."""
    assert [COUNTS] == forms_of("", COUNTS)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("absent", []),
        ("negative", [{"prompt_tokens": -11, "completion_tokens": -7}]),
        ("float", [{"prompt_tokens": 10.5, "completion_tokens": 6.5}]),
        ("huge", [{"prompt_tokens": 10**18, "completion_tokens": 10**18}]),
        ("string", [{"prompt_tokens": "10", "completion_tokens": "6"}]),
        ("twice", [COUNTS, {"prompt_tokens": 30, "completion_tokens": 18}]),
        ("twice-less", [COUNTS, {"prompt_tokens": 3, "completion_tokens": 2}]),
    ],
)
def test_each_wrong_form(form: str, told: list[object]) -> None:
    """The last row of the fault matrix, one by one."""
    assert told == forms_of(form, COUNTS)


def test_every_form_is_known() -> None:
    """No form of the list is told as a sound one."""
    assert all(forms_of(form, COUNTS) != [COUNTS] for form in FORMS)
