"""What a fine-grained token may be allowed, by the names which the hub's clients know.

A right holds in a scope: a namespace (with all its repositories) or one repository. `GLOBAL` rights hold everywhere.
"""

from enum import StrEnum


class Right(StrEnum):
    READ = "repo.content.read"
    WRITE = "repo.write"
    DISCUSS = "discussion.write"
    COLLECTIONS_READ = "collection.read"
    COLLECTIONS = "collection.write"
    WEBHOOKS_READ = "user.webhooks.read"
    WEBHOOKS = "user.webhooks.write"
    ORGANIZATION_READ = "org.read"
    ORGANIZATION = "org.write"


DESCRIPTIONS = {
    Right.READ: "Read private repositories, and gated ones which you may read",
    Right.WRITE: "Push, create, change settings, move and delete repositories",
    Right.DISCUSS: "Take part in discussions, open pull requests, like",
    Right.COLLECTIONS_READ: "Read private collections",
    Right.COLLECTIONS: "Make, change and delete collections",
    Right.WEBHOOKS_READ: "Read webhooks",
    Right.WEBHOOKS: "Make, change and delete webhooks",
    Right.ORGANIZATION_READ: "Read an organisation's settings",
    Right.ORGANIZATION: "Change an organisation's settings and members",
}
OF_A_REPOSITORY = (Right.READ, Right.WRITE, Right.DISCUSS)
OF_A_NAMESPACE = tuple(Right)
GLOBAL = (Right.DISCUSS,)

# Who may change a thing may read it.
_WIDER = {
    Right.READ: Right.WRITE,
    Right.COLLECTIONS_READ: Right.COLLECTIONS,
    Right.WEBHOOKS_READ: Right.WEBHOOKS,
    Right.ORGANIZATION_READ: Right.ORGANIZATION,
}


def granted_by(right: Right) -> frozenset[str]:
    """The rights any of which allows `right`: itself, and the wider one."""
    wider = _WIDER.get(right)
    return frozenset([right.value] if wider is None else [right.value, wider.value])


def only_reads(right: Right) -> bool:
    return right.value.endswith(".read")
