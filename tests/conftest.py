"""One thread, so that runs can be compared bit for bit; hypothesis without a clock and without luck."""

import hypothesis
import torch

torch.set_num_threads(1)
hypothesis.settings.register_profile("nngeom", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("nngeom")
