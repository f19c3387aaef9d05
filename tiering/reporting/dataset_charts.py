"""Charts of a dataset: the distributions of image sizes and shapes."""

from __future__ import annotations

from tiering.dataset.profile import DatasetProfile
from tiering.reporting.chart import Chart
from tiering.reporting.figures import axis, bars_of, curve_of, figure_of, log_axis
from tiering.units import counted, format_bytes, format_count, format_number, format_percent


def of_dataset(dataset: DatasetProfile) -> list[Chart]:
    """Return the distributions of sizes and, if headers were read, of shapes."""
    sizes = dataset.size_quantiles
    points = [(size, float(share)) for share, size in sizes.items()]
    across = [max(size, 1) for size, _ in points]
    one_size = sizes["0"] == sizes["1"]
    made = [
        Chart(
            "sizes",
            "Image sizes",
            f"All images have {format_bytes(sizes['1'])}"
            if one_size
            else f"Half of the images are at most {format_bytes(sizes['0.5'])}, the largest is "
            f"{format_bytes(sizes['1'])}",
            "" if one_size else f"95 % are at most {format_bytes(sizes['0.95'])}.",
            figure_of(
                [curve_of(across, [100 * share for _, share in points], "images", "c1", True)],
                x=log_axis("size (B)") if sizes["1"] > 10 * sizes["0"] else axis("size (B)", exponentformat="SI"),
                y=axis("images at most this large (%)", range=[0, 103]),
            ),
            ("share of images", "at most"),
            [(f"{format_number(100 * share, 6)} %", format_bytes(size)) for size, share in points],
        )
    ]
    if dataset.shapes:
        shapes = [(f"{each.width} x {each.height} {each.mode}", each.count) for each in dataset.shapes]
        seen = dataset.probed - dataset.damaged_count
        made.append(
            Chart(
                "shapes",
                "Image shapes",
                "No two of the images have the same shape"
                if shapes[0][1] == 1 < seen
                else f"{format_percent(shapes[0][1] / max(seen, 1))} of the images are {shapes[0][0]}, the most common "
                f"of {counted(dataset.distinct_shapes, 'shape')}",
                f"Of {counted(seen, 'image')} looked at.",
                bars_of(shapes, "images of those looked at", "shape"),
                ("shape", "images"),
                [(name, format_count(count)) for name, count in shapes],
            )
        )
    return made
