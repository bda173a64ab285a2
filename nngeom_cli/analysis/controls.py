"""Whose boundary a statistic asks about: the network's own, and those of the controls that keep the question."""

__all__ = ["BOUNDARIES", "CONTROLS", "MOST_OTHERS", "SAME_LINE"]

MOST_OTHERS = 7
SAME_LINE = 0.75  # a control of whose band a larger share lies in the network's own is the same line
BOUNDARIES = {
    "grid": {
        "final": "of the last checkpoint, at every epoch",
        "own": "of the checkpoint itself",
        "other": f"final ones of up to {MOST_OTHERS} next replicates, cyclically: the mean of the statistic over them",
        "mirrored": "final, its left and right exchanged in the data's box",
        "rotated": "final, turned by half a turn about the middle of the data's box",
    },
    "path": {
        "final": "changes of prediction of the last checkpoint, at every epoch",
        "own": "changes of the checkpoint itself",
        "other": f"final changes on up to {MOST_OTHERS} next paths of the same network, cyclically: the mean over them",
        "middle": "the middle of the path stands for the change",
    },
    "plane": {
        "final": "entropy of the last checkpoint, at every epoch",
        "own": "entropy of the checkpoint itself",
        "other": f"final entropy of up to {MOST_OTHERS} next replicates, cyclically: the mean over them",
        "rotated": "final entropy of the triangle with its corners renamed in turn: the mean over both ways",
        "middle": "the entropy of the weights of the mixture stands for that of the prediction",
    },
    "data": {
        "final": "prediction of the last checkpoint, at every epoch",
        "own": "prediction of the checkpoint itself",
        "other": f"final predictions of up to {MOST_OTHERS} next replicates, cyclically: the mean over them",
    },
    "geodesic": {
        "final": "the path between the two examples",
        "own": "the same",
        "within": "a path from the first example to one of its own class, about as far away in input space",
    },
}
CONTROLS = {kind: tuple(list(names)[2:]) for kind, names in BOUNDARIES.items()}
