"""What `bench` measures of a store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How busy a store keeps the accelerator of an emulated job: shares of the time in which it computes.

    The first step of each epoch does not count, as in MLPerf Storage. Predictions come from the performance model.

    Attributes:
        first: Of the first epoch; None for fewer than two steps.
        later: Median of the later epochs; None for fewer than two steps.
        predicted_first: The prediction for the first epoch; None behind a cache, and for a cold one of an unknown
            device.
        predicted_later: The prediction for a later epoch; None behind a cache.
        required: Utilisation that MLPerf Storage asks for; None where it asks for none.
        steps: Steps of an epoch.
        step_seconds: Time to compute on a batch, s.
        samples_per_s: Samples per second that the job takes when it never waits.
        sample_bytes: Bytes of a mean sample of the store.
        emulated_sample_bytes: Bytes of a mean sample that the emulated model reads; None where unknown.
    """

    first: float | None
    later: float | None
    predicted_first: float | None
    predicted_later: float | None
    required: float | None
    steps: int
    step_seconds: float
    samples_per_s: float
    sample_bytes: float
    emulated_sample_bytes: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times and rates of shuffled epochs from one store. Rates are per second; bytes are encoded bytes.

    Attributes:
        store: Path or URL of the store.
        kind: Its format.
        samples: Samples in an epoch.
        image_bytes: Encoded bytes in an epoch.
        cold: Whether the first epoch began with nothing in the page cache.
        first_seconds: Time of the first epoch, s.
        later_seconds: Median time of the later epochs, s.
        later_cpu_seconds: Median processor time of this process in the later epochs, s.
        first_samples_per_s: Rate of the first epoch.
        later_samples_per_s: Rate of the median later epoch.
        first_bytes_per_s: Rate of the first epoch.
        later_bytes_per_s: Rate of the median later epoch.
        device_bytes_per_s: Bandwidth of random direct reads of 128 KiB, 32 at a time, just before the first epoch; None
            if that could not be measured.
        first_vs_device: first_bytes_per_s / device_bytes_per_s, None if the first epoch was not cold.
        first_vs_folder: Ratio of first_samples_per_s to that of the plain folder of the same run; None without one.
        later_vs_folder: The same ratio of later_samples_per_s.
        hit_ratio: Share of the later epochs' samples that came from tiering's cache; None without a cache.
        predicted_hit_ratio: The prediction for a cache of that size; None without a cache.
        utilisation: How busy the accelerator of the emulated job was; None without such a job. With one, times and
            rates are those of the job.
    """

    store: str
    kind: str
    samples: int
    image_bytes: int
    cold: bool
    first_seconds: float
    later_seconds: float
    later_cpu_seconds: float
    first_samples_per_s: float
    later_samples_per_s: float
    first_bytes_per_s: float
    later_bytes_per_s: float
    device_bytes_per_s: float | None = None
    first_vs_device: float | None = None
    first_vs_folder: float | None = None
    later_vs_folder: float | None = None
    hit_ratio: float | None = None
    predicted_hit_ratio: float | None = None
    utilisation: Utilisation | None = None
