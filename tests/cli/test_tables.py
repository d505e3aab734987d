"""Tables on a terminal."""

from turnout.cli.tables import called, print_table


def test_columns_stand_under_each_other(capsys):
    """Text to the left, numbers to the right, nothing after the last cell."""
    print_table([("name", "what", "of"), ("a", "long text", "7"), ("bc", "", "1,000")], left=2)
    assert capsys.readouterr().out.splitlines() == [
        "name  what          of",
        "a     long text      7",
        "bc               1,000",
    ]


def test_all_columns_are_text_unless_told(capsys):
    """And an empty cell at the end leaves no spaces."""
    print_table([("a", "b"), ("long", "")])
    assert capsys.readouterr().out.splitlines() == ["a     b", "long"]


def test_a_cell_moves_no_cursor(capsys):
    """What a name holds is shown, not done."""
    print_table([("a\x1b[2J\n", "b\u2028")])
    assert capsys.readouterr().out == "a\\x1b[2J\\n  b\\u2028\n"


def test_an_id_is_told_with_its_name():
    """If it has one; no id is told as what it means."""
    assert ("k_1 (shop)", "k_2", "-", "master") == (
        *(called("k_1", {"k_1": "shop"}), called("k_2", {"k_1": "shop"})),
        *(called("", {}), called("", {}, "master")),
    )
