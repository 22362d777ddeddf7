"""``percepnet bench``: how much of a core it takes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--model", metavar="NAME|FILE", help="Network to time.  [default: the shipped one]")
@click.option("--article", is_flag=True, help="Time a network of the article's shape, 8 M random weights, instead.")
@click.option("--seconds", type=click.FloatRange(min=1), default=20.0, show_default=True, help="Audio per run.")
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Runs; the median counts.")
@click.option(
    "--audio",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Recording to run on.  [default: a synthetic one; the cost does not depend on it]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(model: str | None, article: bool, seconds: float, runs: int, audio: Path | None, as_json: bool) -> None:
    """Measure the speed of the denoiser on this machine.

    Times one channel on one thread: in blocks, as files are processed, and hop by hop (10 ms), as a
    live stream is; shows each stage's share. Close other programs first.

    \b
    Example:
        percepnet bench
        percepnet bench --article --json > article.json
    """  # noqa: D301  (click wants the control character)
    import json

    import numpy as np

    from percepnet_cli.bench import HOP_MS, measure, random_model
    from percepnet_cli.constants import SAMPLE_RATE
    from percepnet_cli.files import read_mono
    from percepnet_cli.network.modelfile import PRESETS, load_model

    size = int(seconds * SAMPLE_RATE)
    if audio is not None:
        recorded = read_mono(audio)
        if len(recorded) == 0:
            raise click.ClickException(f"{audio} holds no samples")
        samples = np.resize(recorded, size)
    else:
        samples = (0.05 * np.random.default_rng(0).standard_normal(size)).astype(np.float32)
    network = random_model(PRESETS["percepnet"]) if article else load_model(model)
    report = measure(network, samples, runs)
    if as_json:
        click.echo(json.dumps(report.json(), indent=2))
        return
    click.echo(
        f"{report.system['processor']}, Python {report.system['python']}, percepnet {report.system['percepnet']}"
    )
    click.echo(f"model {report.model} ({report.digest}): {report.weights:,} weights, one multiply-add each per hop")
    click.echo(f"blocks      {report.times_realtime:8.1f} x real time ({100 * report.realtime_factor:.2f} % of a core)")
    us = report.hop_us
    click.echo(
        f"hop by hop  {report.core_percent:8.2f} % of a core; a hop of {HOP_MS:.0f} ms takes "
        f"{us['p50']:.0f} us (p50), {us['p95']:.0f} (p95), {us['p99']:.0f} (p99), {us['max']:.0f} (max)"
    )
    click.echo(f"latency     {report.latency_ms:8.1f} ms")
    if report.peak_memory_mib is not None:
        click.echo(f"memory      {report.peak_memory_mib:8.0f} MiB at most")
    click.echo("stages      " + ", ".join(f"{k} {v:.1f} %" for k, v in report.stage_percent.items()))
    if report.noisy_machine:
        click.echo("the runs differ by more than 10 %: something else keeps this machine busy", err=True)
