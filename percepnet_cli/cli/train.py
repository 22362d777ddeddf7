"""``percepnet train``: train the network on shards of features and targets."""

from __future__ import annotations

from pathlib import Path

import click

from percepnet_cli.cli.options import CommandWithSections, Number

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(cls=CommandWithSections)
@click.argument("train_dir", type=_FOLDER)
@click.argument("valid_dir", type=_FOLDER)
@click.argument("out_dir", type=_FOLDER)
@click.option("--preset", type=click.Choice(["lite", "percepnet", "studio"]), help="Named sizes.  [default: lite]")
@click.option("--sizes", help="Widths: dense,conv1,conv2,gru,gain_gru,strength_gru.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Sequences per step.")
@click.option("--hops", type=click.IntRange(8), default=400, show_default=True, help="Hops (10 ms) per sequence.")
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Highest learning rate.")
@click.option("--minutes", type=Number(0, min_open=True), help="Budget of trained time, all sittings.")
@click.option("--steps", type=click.IntRange(1), help="Budget of steps, instead of --minutes.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads for products.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a CUDA device if there is one.",
)
@click.option(
    "--optimiser",
    type=click.Choice(["adamw", "muon"]),
    default="adamw",
    show_default=True,
    help="What moves the weights; muon takes over the matrices of the recurrent layers.",
)
@click.option(
    "--loss",
    type=click.Choice(["gamma", "quarter", "relative", "entropy", "mixed"]),
    default="gamma",
    show_default=True,
    help="Loss of the gains: the paper's, RNNoise's, V21's, cross-entropy, or the first and half of the last.",
)
@click.option("--strength-weight", type=float, default=0.5, show_default=True, help="Weight of the strength's loss.")
@click.option(
    "--strength-asymmetry",
    type=Number(0.1, 10),
    default=1.0,
    show_default=True,
    help="How many times a strength counts that is too small, beside one that is too large.",
)
@click.option(
    "--level-weight",
    type=Number(0, 1),
    default=0.0,
    show_default=True,
    help="How much loud bands count for more than quiet ones, 0..1.",
)
@click.option(
    "--loudness-weight",
    type=Number(0),
    default=0.0,
    show_default=True,
    help="Weight of what the ear hears of the difference to clean speech, as PESQ counts it.",
)
@click.option(
    "--residue-weight",
    type=Number(0),
    default=0.0,
    show_default=True,
    help="Weight of the energy of what is not speech in the result, as SI-SDR counts it.",
)
@click.option("--recolour", is_flag=True, help="Give each sequence a random level and filter, anew in every step.")
@click.option(
    "--dropout",
    type=Number(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of the units of each layer that a sequence is trained without.",
)
@click.option(
    "--pieces",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Cut each sequence into so many pieces; a step after each, the state is carried on.",
)
@click.option(
    "--taught-share",
    type=Number(0, 1),
    default=0.0,
    show_default=True,
    help="How much the opinion of teachers counts beside the ideal answer, where shards have one.",
)
@click.option(
    "--taught-power",
    type=Number(0.1, 10),
    default=1.0,
    show_default=True,
    help="Raise the gains in their opinion to this power; below 1 makes them milder.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first weights and the batches.")
@click.option("--checkpoint-minutes", type=float, default=3.0, show_default=True, help="Time between checkpoints.")
@click.option("--validate-minutes", type=float, default=4.0, show_default=True, help="Time between validations.")
@click.option(
    "--init",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Model to start from, 8-bit or float; gives the sizes, or is widened to those asked for.",
)
@click.option("--resume/--fresh", default=True, show_default=True, help="Go on with a run in OUT_DIR, or start anew.")
def train(
    train_dir: Path,
    valid_dir: Path,
    out_dir: Path,
    preset: str | None,
    sizes: str | None,
    batch: int,
    hops: int,
    lr: float,
    minutes: float | None,
    steps: int | None,
    threads: int,
    device: str,
    optimiser: str,
    loss: str,
    strength_weight: float,
    strength_asymmetry: float,
    level_weight: float,
    loudness_weight: float,
    residue_weight: float,
    recolour: bool,
    dropout: float,
    pieces: int,
    taught_share: float,
    taught_power: float,
    seed: int,
    checkpoint_minutes: float,
    validate_minutes: float,
    init: Path | None,
    resume: bool,
) -> None:
    """Train the network on shards made by `train-targets`.

    TRAIN_DIR and VALID_DIR hold the shards, OUT_DIR gets checkpoint.pt, model.safetensors,
    history.csv and curves.png. A run can be stopped at any time; the same command goes on
    where it was.

    \b
    Example:
        percepnet train shards/train shards/valid runs/lite --minutes 600
    """  # noqa: D301  (click wants the control character)
    if (minutes is None) == (steps is None):
        raise click.UsageError("Give either --minutes or --steps.")
    if preset is not None and sizes is not None:
        raise click.UsageError("Give either --preset or --sizes.")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise click.ClickException(
            "Training needs torch, which is not installed: pip install 'percepnet-cli[train]'"
        ) from error
    from percepnet_cli.network.modelfile import PRESETS, Sizes
    from percepnet_cli.training.model.floatmodel import read_weights
    from percepnet_cli.training.options import Options
    from percepnet_cli.training.train import run

    if sizes is None and preset is None and init is not None:
        try:
            widths = read_weights(init).sizes
        except ValueError as error:
            raise click.ClickException(str(error)) from error
    elif sizes is None:
        widths = PRESETS[preset or "lite"]
    else:
        try:
            numbers = [int(part) for part in sizes.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != 6 or min(numbers) < 1:
            raise click.BadParameter("six positive whole numbers with commas between them.", param_hint="--sizes")
        dense, conv1, conv2, gru, gain_gru, strength_gru = numbers
        widths = Sizes(dense, conv1, conv2, gru, gain_gru, strength_gru)
    options = Options(
        sizes=widths,
        batch=batch,
        hops=hops,
        rate=lr,
        minutes=minutes,
        steps=steps,
        threads=threads,
        device=device,
        optimiser=optimiser,
        loss=loss,
        strength_weight=strength_weight,
        strength_asymmetry=strength_asymmetry,
        level_weight=level_weight,
        loudness_weight=loudness_weight,
        residue_weight=residue_weight,
        recolour=recolour,
        dropout=dropout,
        pieces=pieces,
        taught_share=taught_share,
        taught_power=taught_power,
        seed=seed,
        checkpoint_minutes=checkpoint_minutes,
        validate_minutes=validate_minutes,
        init=init,
        fresh=not resume,
    )
    try:
        result = run(train_dir, valid_dir, out_dir, options, log=click.echo)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if result.finished:
        click.echo(f"Finished after {result.step} steps: {out_dir / 'model.safetensors'}")
    else:
        click.echo(f"Stopped after {result.step} steps; the same command goes on from there.")
        if result.signal is not None:
            raise click.exceptions.Exit(128 + result.signal)
