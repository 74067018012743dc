"""The corpus: every attempt to break a command, from seeds, by what is read."""

from tests.hostile import checkpoints, data, documents, runs

# What is cheap to make and to meet: of these a few are drawn in every run of the tests.
QUICK = (
    checkpoints.shards,
    checkpoints.accounts,
    checkpoints.rules,
    documents.reports,
    documents.segments,
)
LONG = (
    documents.logs,
    documents.configs,
    documents.deployments,
    data.pictures,
    data.annotations,
    data.volumes,
    runs.inputs,
    runs.traces,
    runs.odd_nets,
    runs.trainings,
    runs.steps,
)


def cases(folder, canary, makers=()):
    """Yield the cases of some makers, of none those of checkpoints.

    Their good files are made in `folder`; `canary` appears if code runs.
    """
    if not makers:
        yield from checkpoints.checkpoints(made(folder / "checkpoints"), canary)
    for maker in makers:
        yield from maker(made(folder / maker.__name__))


def made(folder):
    """Make a folder and return it."""
    folder.mkdir(parents=True)
    return folder
