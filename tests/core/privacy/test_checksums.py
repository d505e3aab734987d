"""Numbers are what their authorities say: checked against python-stdnum, which the gateway itself does not use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban, luhn
from stdnum.de import idnr
from stdnum.dk import cpr, cvr
from stdnum.fi import hetu
from stdnum.gb import nhs
from stdnum.is_ import kennitala
from stdnum.no import fodselsnummer
from stdnum.se import personnummer

from turnout.core.privacy.checksums import (
    IBAN_LENGTHS,
    cpr_date,
    is_card,
    is_cpr,
    is_cvr,
    is_fodselsnummer,
    is_hetu,
    is_iban,
    is_kennitala,
    is_luhn,
    is_nhs,
    is_personnummer,
    is_steuer_id,
)


def digits(count):
    """So many digits."""
    return st.text("0123456789", min_size=count, max_size=count)


def dates(years=(0, 99)):
    """DDMMYY, mostly of a day that exists."""
    return st.builds("{:02}{:02}{:02}".format, st.integers(1, 33), st.integers(1, 13), st.integers(*years))


@given(digits(15))
def test_the_check_digit_of_luhn_is_the_oracles(prefix):
    """Of ten last digits one is right, and it is the same one."""
    assert [luhn.is_valid(f"{prefix}{last}") for last in range(10)] == [
        is_luhn(f"{prefix}{last}") for last in range(10)
    ]


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111",
        "4222222222222",
        "5555555555554444",
        "2223000048400011",
        "378282246310005",
        "30569309025904",
        "3530111333300000",
        "6011111111111117",
        "6304000000000000",
        "5019717010103742",
    ],
)
def test_cards_of_every_issuer_are_known_and_one_digit_off_they_are_none(number):
    """The numbers that issuers publish for tests."""
    assert is_card(number)
    assert not is_card(f"{number[:-1]}{(int(number[-1]) + 1) % 10}")
    assert not is_card(f"{number}0")


def test_a_number_that_no_issuer_begins_with_is_no_card():
    """It may fit Luhn all the same."""
    assert is_luhn("1111111111111117")
    assert not is_card("1111111111111117")


@given(st.sampled_from(sorted(IBAN_LENGTHS)), st.data())
def test_an_iban_is_judged_as_by_the_oracle(country, data):
    """All check digits of an account: those that the oracle's ISO 7064 gives are right."""
    account = data.draw(digits(IBAN_LENGTHS[country] - 4))
    right = iban.calc_check_digits(f"{country}00{account}")
    assert is_iban(f"{country}{right}{account}")
    assert not is_iban(f"{country}{(int(right) + 1) % 100:02}{account}")
    assert not is_iban(f"{country}{right}{account}0")


def test_an_account_of_no_country_is_none():
    """However its digits add up."""
    assert not is_iban("XX82WEST12345698765432")


@given(dates((0, 25)), digits(4))
def test_a_cpr_has_a_date_in_the_century_that_its_seventh_digit_says(date, rest):
    """As the oracle reads it, for whoever can have been born."""
    assert cpr.is_valid(date + rest) == cpr_date(date + rest)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("2902001234", False),
        ("2902004234", True),
        ("2902005234", True),
        ("2902580234", False),
        ("2902960234", True),
        ("290204923", False),
        ("2902365234", True),
        ("2902608234", True),
        ("2902374234", False),
        ("2902364234", True),
    ],
)
def test_leap_days_tell_the_centuries_of_a_cpr(number, expected):
    """1900 had none, 2000 had one; 60 with an 8 is 1860, 36 with a 4 is 2036, 37 with a 4 is 1937."""
    assert expected == cpr_date(number)


@given(digits(10))
def test_the_check_digit_of_a_cpr_is_the_oracles(number):
    """Weights modulo 11."""
    assert (cpr.checksum(number) == 0) == is_cpr(number)
    assert not is_cpr(number[:9])


@given(digits(7))
def test_a_cvr_is_judged_as_by_the_oracle(prefix):
    """All ten last digits."""
    numbers = [f"{prefix}{last}" for last in range(10)]
    assert [cvr.is_valid(number) for number in numbers] == [is_cvr(number) for number in numbers]
    assert not is_cvr(prefix)


@given(dates((0, 25)), st.sampled_from([0, 40]), st.sampled_from([0, 40]), digits(3))
def test_a_fodselsnummer_is_judged_as_by_the_oracle(date, day_more, month_more, individual):
    """All hundred pairs of check digits, D-numbers and H-numbers too. (The oracle knows centuries that are not in use.)"""
    prefix = f"{int(date[:2]) + day_more:02}{int(date[2:4]) + month_more:02}{date[4:]}{individual}"
    numbers = [f"{prefix}{last:02}" for last in range(100)]
    valid = [number for number in numbers if fodselsnummer.is_valid(number)]
    ours = [number for number in numbers if is_fodselsnummer(number)]
    assert set(valid) <= set(ours)
    assert len(ours) <= 1
    assert all(fodselsnummer.calc_check_digit2(number) == number[-1] for number in ours)


def test_a_fodselsnummer_with_a_wrong_digit_or_date_is_none():
    """The second check digit, the first, the date, the length."""
    assert is_fodselsnummer("15108695088")
    assert [False] * 4 == [is_fodselsnummer(one) for one in ("15108695089", "15108695188", "1510869508", "00000000000")]


@given(dates((27, 99)), st.booleans(), digits(3))
def test_a_personnummer_is_judged_as_by_the_oracle(date, is_long, serial):
    """All ten last digits, of ten or of twelve."""
    prefix = ("19" if is_long else "") + date[4:] + date[2:4] + date[:2] + serial
    numbers = [f"{prefix}{last}" for last in range(10)]
    assert [personnummer.is_valid(number) for number in numbers] == [is_personnummer(number) for number in numbers]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("7010632391", True),
        ("197010632391", True),
        ("217010032391", False),
        ("701063239", False),
        ("7010992395", False),
    ],
)
def test_a_coordination_number_adds_sixty_to_the_day(number, expected):
    """Skatteverket's example; no other century, no other length, no other day."""
    assert expected == is_personnummer(number)


@given(dates(), st.sampled_from("+-YXWVUABCDEF"), st.integers(2, 899))
def test_a_hetu_is_judged_as_by_the_oracle(date, sign, serial):
    """All 31 last signs."""
    numbers = [f"{date}{sign}{serial:03}{last}" for last in "0123456789ABCDEFHJKLMNPRSTUVWXY"]
    assert [hetu.is_valid(number) for number in numbers] == [is_hetu(number) for number in numbers]


@pytest.mark.parametrize("text", ["131052-308", "131052Q308T", "131O52-308T"])
def test_what_is_not_written_as_a_hetu_is_none(text):
    """Its length, its sign, a letter among the digits."""
    assert not is_hetu(text)


@given(dates(), st.sampled_from([0, 40]), digits(3), st.sampled_from("90"))
def test_a_kennitala_is_judged_as_by_the_oracle(date, more, serial, century):
    """Persons and companies, all ten check digits. (The oracle only knows which serials are given out.)"""
    numbers = [f"{int(date[:2]) + more:02}{date[2:]}{serial[:2]}{last}{century}" for last in range(10)]
    valid = [number for number in numbers if kennitala.is_valid(number)]
    ours = [number for number in numbers if is_kennitala(number)]
    assert set(valid) <= set(ours)
    assert all(kennitala.checksum(number) == 0 for number in ours)


@pytest.mark.parametrize("number", ["1201743397", "120174339", "1201743389", "3201743399"])
def test_a_kennitala_that_is_off_is_none(number):
    """Its century, length, check digit, date."""
    assert is_kennitala("1201743399")
    assert not is_kennitala(number)


@given(st.one_of(digits(10), st.permutations("0123456789").map(lambda all_: "".join(all_[:9]) + all_[0])))
def test_a_steuer_id_is_judged_as_by_the_oracle(prefix):
    """All ten check digits; nine different digits and one that comes twice is how most are."""
    numbers = [f"{prefix}{last}" for last in range(10)]
    assert [idnr.is_valid(number) for number in numbers] == [is_steuer_id(number) for number in numbers]
    assert not is_steuer_id(prefix)


@given(digits(9))
def test_an_nhs_number_is_judged_as_by_the_oracle(prefix):
    """All ten check digits."""
    numbers = [f"{prefix}{last}" for last in range(10)]
    assert [nhs.is_valid(number) for number in numbers] == [is_nhs(number) for number in numbers]
    assert not is_nhs(prefix)
