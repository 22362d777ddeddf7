"""``percepnet quantize``: a float network in, the 8-bit one out, and what that changes."""

from __future__ import annotations

from pathlib import Path

import click

from percepnet_cli.cli.options import CommandWithSections, Number
from percepnet_cli.cli.printed import echo, warn

EXAMPLES = """
    percepnet quantize runs/lite/model.safetensors lite.safetensors --audio noisy.wav
"""


@click.command(cls=CommandWithSections, examples=EXAMPLES)
@click.argument("float_model", metavar="FLOAT", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--audio",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Noisy recording to compare both networks on; repeatable.",
)
@click.option(
    "--bits",
    type=click.Choice(["8", "16"]),
    default="8",
    show_default=True,
    help="8: what runs. 16: float16, half the size of FLOAT, to fine-tune from.",
)
@click.option(
    "--post-filter",
    type=Number(0, 1),
    metavar="SHARE",
    help="How much of the post-filter OUT asks for, 0 to 1.  [default: as FLOAT says]",
)
@click.option("-f", "--force", is_flag=True, help="Replace OUT if it exists.")
def quantize(
    float_model: Path, target: Path, audio: tuple[Path, ...], bits: str, post_filter: float | None, force: bool
) -> None:
    """Round a trained network to 8 bits.

    FLOAT is the model.safetensors of `percepnet train`; OUT is what `percepnet denoise --model`
    takes. With --audio, both run over the recordings and the differences of gains (g),
    strengths (r) and output are reported.
    """
    from percepnet_cli.audio.whole import read_mono
    from percepnet_cli.network.modelfile import load_model, model_bytes
    from percepnet_cli.network.quantize import half_tensors, quantize_tensors
    from percepnet_cli.storage.target import check_file, write_file

    if bits == "16" and audio:
        raise click.UsageError("--audio compares 8 bits with float; leave out --bits 16.")
    check_file(target, force, inputs=[float_model, *audio])
    model = load_model(float_model, "float")
    origin = model.metadata | {"float_sha256": model.digest}
    if post_filter is not None:
        origin["post_filter"] = post_filter
    if bits == "8":
        data = model_bytes(quantize_tensors(model.tensors, model.sizes), model.sizes, "int8", origin)
    else:
        data = model_bytes(half_tensors(model.tensors, model.sizes), model.sizes, "float", origin)
    recordings = [(path, read_mono(path, warn=warn, any_scale=False)) for path in audio]
    write_file(target, lambda part: part.write_bytes(data), force)
    small = load_model(target, "int8" if bits == "8" else "float")
    echo(f"{target}: {small.num_weights:,} weights, {len(data):,} bytes, sha256 {small.digest[:12]}")
    if recordings:
        from percepnet_cli.evaluation.quantization import compare

        echo(f"{'float against 8 bits':<40} |dg| mean  p99    |dr| mean  p99    output SNR")
        for path, samples in recordings:
            try:
                d = compare(model, small, samples)
            except ValueError as error:
                raise click.ClickException(f"{path}: {error}") from None
            echo(
                f"{path.name[:40]:<40} {d.gain_mean:8.4f} {d.gain_p99:6.3f} {d.strength_mean:9.4f} "
                f"{d.strength_p99:6.3f} {d.snr_db:9.1f} dB"
            )
