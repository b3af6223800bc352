"""Who likes which repository. `Repository.likes` is the number of these rows."""

from django.db import models

from models_registry.accounts.models import User
from models_registry.repos.models import Repository


class Like(models.Model):
    repository = models.ForeignKey(Repository, models.CASCADE, related_name="like_rows", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="like_rows")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "user"], name="one_like_a_person")]

    def __str__(self) -> str:
        return f"{self.user_id} likes {self.repository_id}"
