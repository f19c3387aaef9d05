"""The result of a verification."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiering.sources.account import Account


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of tiering.verify.

    Attributes:
        store: Path or URL of the store.
        samples: Number of samples.
        image_bytes: Bytes of all samples.
        source: The source that was compared, or None.
        quick: Only structure and sizes were checked.
        problem_count: Number of problems.
        problems: The first hundred problems, a sentence each.
        damaged: Names of the shards that need repair.
        unfinished: A sentence about an append that is running or was killed, whose files do not belong to the store
            yet; None without one.
        account: Everything in the source as it is now, if it was compared; otherwise the account of the store.
        decoded: Every image was decoded.
        undecodable: Number of problems that are images with the right bytes that cannot be decoded.
        elsewhere: Number of samples that were not compared, because they were packed from other sources.
        relabelled: Number of samples to which a relabel gave another label, split or field than their source has.
        reencoded: The samples are re-encoded. If a source was compared, they were made again from it.
        alike: Number of re-encoded samples that another build of the encoder made, and that are equal within tolerance
            to what this build makes of their originals; all others are equal to the last byte.
        further_fields: Names of fields that the source has and the store does not.
    """

    store: str
    samples: int
    image_bytes: int
    source: str | None
    quick: bool
    problem_count: int
    problems: list[str]
    damaged: list[str]
    unfinished: str | None = None
    account: Account | None = None
    decoded: bool = False
    undecodable: int = 0
    elsewhere: int = 0
    relabelled: int = 0
    reencoded: bool = False
    alike: int = 0
    further_fields: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the store holds exactly what it should."""
        return self.problem_count == 0
