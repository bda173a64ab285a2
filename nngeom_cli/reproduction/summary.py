"""Five sentences that say what of the paper holds, in which reading, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nngeom_cli.reproduction.claims import Result

__all__ = ["summary"]

SHORT = {
    "theory": "infinite width",
    "figure1-sigmoid": "XOR [2, 2, 1] sigmoid",
    "figure1-softplus": "XOR [2, 2, 1] softplus",
    "figure1-width8-sigmoid": "XOR [2, 8, 1] sigmoid",
    "figure1-width8-softplus": "XOR [2, 8, 1] softplus",
    "figure2": "sinusoid",
    "figure3-sigmoid": "digits sigmoid",
    "figure3-softplus": "digits softplus",
}
READINGS = {
    ("volume", "relative"): "Volume, relative (V becomes large near the decision boundary against elsewhere)",
    ("volume", "absolute"): "Volume, absolute (training makes V at the decision boundary larger than it was)",
    ("curvature", "relative"): "Curvature, relative (|R| becomes small near the decision boundary against elsewhere)",
    ("curvature", "absolute"): "Curvature, absolute (training makes |R| at the decision boundary smaller than it was)",
}
PHRASES = {"holds": "holds for", "undecided": "undecided for", "differs": "does not hold for", "off": "off for"}


def summary(results: Sequence[Result]) -> list[str]:
    """A sentence for each subject and reading, and one for the paper's formulas and networks."""
    sentences = []
    for (subject, reading), words in READINGS.items():
        group = [one for one in results if (one.claim.subject, one.claim.reading) == (subject, reading)]
        main = {one.claim.run: one.word for one in group if one.claim.main}
        others = {(one.claim.run, one.word) for one in group if one.word != main[one.claim.run]}
        sentence = f"{words}: {listed(main.items())}"
        if others:
            sentence += f"; by another statistic or over the whole window {listed(sorted(others))}"
        sentences.append(f"{sentence}.")
    checks = [one for one in results if one.claim.reading == "check" and one.claim.main]
    parts = []
    for phrase, verdicts in (("not so:", {"differs", "off"}), ("undecided:", {"undecided"})):
        if statements := dict.fromkeys(one.claim.statement for one in checks if one.word in verdicts):
            parts.append(f"{phrase} {'; '.join(statement.rstrip('.') for statement in statements)}")
    sentences.append(f"Formulas and networks, {'; '.join(parts) or 'as expected'}.")
    return sentences


def listed(words: Iterable[tuple[str, str]]) -> str:
    """The runs for each verdict.

    Example:
        >>> listed([("figure2", "holds"), ("figure3-softplus", "undecided")])
        'holds for sinusoid; undecided for digits softplus'
    """
    pairs = list(words)
    runs = {word: [SHORT[run] for run, each in pairs if each == word] for word in PHRASES}
    return "; ".join(f"{phrase} {', '.join(runs[word])}" for word, phrase in PHRASES.items() if runs[word])
