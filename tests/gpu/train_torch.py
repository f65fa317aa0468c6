"""Training steps of a PyTorch MLP. Prints the seconds of the steps, and the losses."""

import sys
import time

import torch

STEPS, WARM = 100, 5


def main():
    torch.manual_seed(0)
    device = torch.device("cuda")
    model = torch.nn.Sequential(
        torch.nn.Linear(256, 512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, 512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, 10),
    ).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x = torch.randn(512, 256, generator=torch.Generator().manual_seed(1)).to(device)
    y = torch.randint(0, 10, (512,), generator=torch.Generator().manual_seed(2)).to(device)
    losses = []
    for step in range(WARM + STEPS):
        if step == WARM:
            torch.cuda.synchronize()
            begin = time.perf_counter()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            losses.append(loss.item())
    torch.cuda.synchronize()
    print(f"seconds {time.perf_counter() - begin:.6f}")
    assert losses[-1] < losses[0], losses
    print("checksum " + " ".join(f"{value:.4f}" for value in losses))


if __name__ == "__main__":
    sys.exit(main())
