"""The examples at the end of each command's help, with their real output. A test runs each of them again."""

__all__ = ["EXAMPLES"]

EXAMPLES = {
    "measure": """Example, after `nngeom run hydra.run.dir=xor`:

  $ nngeom measure xor probe.resolution=60 hydra.run.dir=finer
  xor 2-8-1 sigmoid: 8 replicates, 2000 epochs trained before, measured in 4.6 s on cpu
  accuracy by seed  0: 1.000  1: 1.000  2: 1.000  3: 1.000  4: 1.000  5: 1.000  6: 1.000  7: 1.000
  8 of 8 replicates solved the task (accuracy of at least 1)
  figure /home/ada/finer/figures/grid-layer-1.png
  figure /home/ada/finer/figures/grid-layer-1-replicates.png
  /home/ada/finer""",
    "resume": """Example, after `nngeom run hydra.run.dir=xor`:

  $ nngeom resume xor optimizer.epochs=2500
  Resumes from epoch 2000 of 2500.
  xor 2-8-1 sigmoid: 8 replicates, 2500 epochs in 2.3 s on cpu
  accuracy by seed  0: 1.000  1: 1.000  2: 1.000  3: 1.000  4: 1.000  5: 1.000  6: 1.000  7: 1.000
  8 of 8 replicates solved the task (accuracy of at least 1)
  figure xor/figures/grid-layer-1.png
  figure xor/figures/grid-layer-1-replicates.png
  xor""",
    "figures": """Example, after `nngeom run hydra.run.dir=xor`:

  $ nngeom figures xor
  xor/figures/grid-layer-1.png
  xor/figures/grid-layer-1-replicates.png""",
    "summarize": """Example, after `nngeom run hydra.run.dir=xor`:

  $ nngeom summarize xor --columns accuracy,solved,volume_band_contrast,curvature_band_contrast
  run  networks  accuracy  solved        volume_band_contrast    curvature_band_contrast
  xor  8         1         1 [0.676, 1]  0.0836 [0.0612, 0.106]  -0.728 [-1.06, -0.474]""",
    "compare": """Example, after `nngeom run hydra.run.dir=xor`, and one with 'architecture.hidden=[16]' in wide:

  $ nngeom compare xor wide directory=both
     run
  A  xor
  B  wide

  config               A    B
  architecture.hidden  [8]  [16]

  mean [95 % interval]     A                       B                        B - A
  accuracy                 1                       1                        0
  solved                   1 [0.676, 1]            1 [0.676, 1]             0 [-0.324, 0.324]
  volume_band_contrast     0.0836 [0.0612, 0.106]  0.0582 [0.0447, 0.073]   -0.0254 [-0.052, 0.0017]
  curvature_band_contrast  -0.728 [-1.06, -0.474]  -0.521 [-0.775, -0.297]  0.207 [-0.222, 0.622]

  B and A are paired by 8 seeds.
  table /home/ada/both/config.csv
  table /home/ada/both/statistics.csv
  figure /home/ada/both/training.png
  figure /home/ada/both/grid-layer-1.png
  /home/ada/both""",
    "list": """Example, after `nngeom run hydra.run.dir=xor`:

  $ nngeom list xor
  run  status    task  accuracy  age   size
  xor  complete  xor   1.000     42 s  2.49 MB""",
    "clean": """Example, after `nngeom run hydra.run.dir=xor`:

  $ nngeom clean xor --dry-run
  xor: 10 checkpoints, 178 kB""",
    "report": """Example, after `nngeom run hydra.run.dir=xor`:

  $ nngeom report xor
  xor/report.html""",
    "watch": """Example, while `nngeom run hydra.run.dir=xor` is running:

  $ nngeom watch xor
  http://127.0.0.1:41373/b3dX4kQ0h2nV7ZrPyT9sUw1aCeJmLf5g/""",
    "animate": """Example, after `nngeom run hydra.run.dir=xor`:

  $ nngeom animate xor
  xor/figures/animation.gif""",
    "theory": """Example:

  $ nngeom theory activation=erf d=2 directory=erf
  erf/theory.png""",
    "reproduce": """Example:

  $ nngeom reproduce --quick
  outputs/figures/quick/REPRODUCTION.md""",
}
