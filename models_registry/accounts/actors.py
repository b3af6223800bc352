"""Who asks, and what their credentials carry. What they may do with it is asked of `policies.py`."""

from dataclasses import dataclass

from models_registry.accounts.models import AccessToken, TokenRole, User
from models_registry.accounts.rights import Right, granted_by, only_reads


@dataclass(frozen=True)
class Actor:
    """Who asks: nobody, a user in a browser, or a user by a token (whose rights may be narrower than its user's)."""

    user: User | None = None
    token: AccessToken | None = None

    @property
    def is_anonymous(self) -> bool:
        return self.user is None

    @property
    def name(self) -> str:
        return self.user.username if self.user else "anonymous"

    @property
    def is_superuser(self) -> bool:
        return self.user is not None and self.user.is_superuser

    @property
    def has_whole_account(self) -> bool:
        """A session, or a classic token with the role write: what the user may do, these credentials may."""
        return self.user is not None and (self.token is None or self.token.role == TokenRole.WRITE)

    @property
    def may_write(self) -> bool:
        """Whether the credentials carry the right to change anything at all."""
        if self.token is None or not self.token.is_fine_grained:
            return self.has_whole_account
        carried = {*self.token.global_rights, *(name for scope in self.token.scope_rows.all() for name in scope.rights)}
        return any(not only_reads(Right(name)) for name in carried)

    def carries(self, right: Right, *, namespace: int | None = None, repository: int | None = None) -> bool:
        """Whether the credentials carry a right in a namespace or a repository (by their keys); asks no role."""
        if self.has_whole_account:
            return True
        if self.token is None:
            return False
        if not self.token.is_fine_grained:
            return only_reads(right)
        enough = granted_by(right)
        if enough.intersection(self.token.global_rights):
            return True
        return any(
            enough.intersection(scope.rights)
            for scope in self.token.scope_rows.all()
            if (scope.namespace_id is not None and scope.namespace_id == namespace)
            or (scope.repository_id is not None and scope.repository_id == repository)
        )

    def carries_on(self, right: Right, repository) -> bool:
        """The same for a repository: by a scope of its own or of its namespace."""
        return self.carries(right, namespace=repository.namespace_id, repository=repository.pk)


ANONYMOUS = Actor()
