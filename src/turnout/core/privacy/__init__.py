"""Finds what is personal or secret in a text, takes it out, and puts it back: pure functions of the text alone.

    kinds        the names of what is looked for, and the words that speak for each
    checksums    whether digits can be such a number at all
    numbers      numbers: phones, cards, national identifiers
    detectors    everything in one text: a quick look first, then a close one
    masking      placeholders for one request, and back again
    requests     which texts of a request may hold it
    answers      back again in an answer, whole or a stream

Names, addresses and what a picture shows are not found: that takes a model, and it would still be a guess.
"""
