# SPDX-License-Identifier: Apache-2.0
"""The models that optimum-quanto was calibrated on for the golden set."""

import torch
from torch import nn
from torch.nn import functional as F


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(24, 32), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x):
        return self.fc3(F.silu(self.fc2(torch.relu(self.fc1(x)))))


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        h = self.ln1(x)
        x = x + self.o(F.scaled_dot_product_attention(self.q(h), self.k(h), self.v(h)))
        return x + self.down(F.gelu(self.up(self.ln2(x))))


def golden_model(case):
    """The float model of a calibration case."""
    kinds = {"mlp": Mlp, "conv": Conv, "block": Block}
    model = kinds[case.params["model"]]().to(getattr(torch, case.params["dtype"]))
    model.load_state_dict(
        {k.removeprefix("float."): v for k, v in case.inputs.items() if k.startswith("float.")}
    )
    return model
