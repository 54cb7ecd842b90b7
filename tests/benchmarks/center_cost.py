"""What alignment and center terms add to a fine-tuning step: CTC only against CTC + center, one run, both sides.

python tests/benchmarks/center_cost.py [--model hgnetv2_b0] [--repeats 9] [--device cpu]

The two kinds of step alternate, so that whatever else the machine does falls on both; medians are compared.
"""

import argparse
import time
from statistics import median

import torch

from ocrcc.decoding.alignment import align, gather_features
from ocrcc.losses.center import Centers, mean, sibling_cross_entropy, squared_distance
from ocrcc.losses.ctc import ctc_terms
from ocrcc.losses.separation import separation
from ocrcc.models.registry import create_model


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="hgnetv2_b0")
    parser.add_argument("--classes", type=int, default=7000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--characters", type=int, default=20)
    parser.add_argument("--siblings", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


class Bench:
    def __init__(self, options):
        self.options = options
        torch.manual_seed(0)
        device = options.device
        self.model = create_model(options.model, options.classes).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4)
        n, length = options.batch_size, options.characters
        self.images = torch.randn(n, 1, 32, 4 * options.frames, device=device)
        self.frames = torch.full((n,), options.frames, device=device)
        self.targets = torch.randint(1, options.classes, (n, length), device=device)
        self.lengths = torch.full((n,), length, device=device)
        self.siblings = torch.randint(1, options.classes, (options.classes, options.siblings), device=device)
        self.centers = Centers(options.classes, self.model.feature_width).to(device)
        self.centers.centers.normal_()
        self.centers.center_counts.fill_(1)

    def clock(self):
        if self.options.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def step(self, with_centers):
        start = self.clock()
        output = self.model(self.images)
        loss = ctc_terms(output.logits, self.frames, self.targets, self.lengths).loss
        parts = {}
        if with_centers:
            parts, term = self.center_terms(output)
            loss = loss + term
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.clock() - start, parts

    def center_terms(self, output):
        marks = [self.clock()]
        found = align(output.logits, self.frames, self.targets, self.lengths)
        marks.append(self.clock())
        chars = gather_features(output.features, found, self.targets)
        near = self.centers.near(chars.classes, self.siblings)
        pull = mean(squared_distance(chars.features, near))
        head = self.model.head
        push = mean(sibling_cross_entropy(chars.features, head.weight, head.bias, chars.classes, self.siblings))
        marks.append(self.clock())
        self.centers.update(chars.features, chars.classes)
        marks.append(self.clock())
        separation(chars.features, near).scalars()
        marks.append(self.clock())
        names = ("align", "terms forward", "move centers", "track")
        return dict(zip(names, (b - a for a, b in zip(marks, marks[1:], strict=False)), strict=True)), pull + push


def memory(bench, with_centers):
    torch.cuda.reset_peak_memory_stats()
    bench.step(with_centers)
    return torch.cuda.max_memory_allocated() / 2**20


def main():
    options = parse()
    bench = Bench(options)
    times, parts = {False: [], True: []}, []
    for repeat in range(-1, options.repeats):  # the first warms up
        for with_centers in (False, True):
            seconds, inside = bench.step(with_centers)
            if repeat >= 0:
                times[with_centers].append(seconds)
                parts += [inside] if with_centers else []
    control, center = median(times[False]), median(times[True])
    print(
        f"{options.model}, {options.classes} classes, {options.batch_size} lines, T = {options.frames}, "
        f"D = {bench.model.feature_width}, {options.characters} characters a line, {options.device}, "
        f"{torch.get_num_threads()} threads, medians of {options.repeats}"
    )
    print(f"CTC only      {1000 * control:9.1f} ms a step")
    print(f"CTC + center  {1000 * center:9.1f} ms a step, {center / control:.3f} times")
    for name in parts[0]:
        print(f"  {name:14s}{1000 * median(part[name] for part in parts):7.1f} ms")
    if options.device != "cpu":
        before, after = memory(bench, False), memory(bench, True)
        print(f"memory        {before:9.0f} MiB, {after:.0f} MiB with centers, {after / before:.3f} times")


if __name__ == "__main__":
    main()
