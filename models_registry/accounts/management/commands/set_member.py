"""manage.py set_member ORGANISATION USER ROLE"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from models_registry.accounts.actors import Actor
from models_registry.accounts.members import remove_member, set_member
from models_registry.accounts.models import Role, User
from models_registry.accounts.services import find_organization
from models_registry.errors import HubError


class Command(BaseCommand):
    help = "Add a user to an organisation, change their role, or (with the role none) take them out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization")
        parser.add_argument("user")
        parser.add_argument("role", choices=[*Role.values, "none"])

    def handle(self, *args: Any, **options: Any) -> None:
        # Whoever may run commands on the machine is an administrator.
        administrator = Actor(User(username="the administrator", is_superuser=True))
        try:
            organization = find_organization(options["organization"])
            if options["role"] == "none":
                remove_member(administrator, organization, options["user"])
                self.stdout.write(f"{options['user']} is no member of {organization.name}")
                return
            member = set_member(administrator, organization, options["user"], options["role"])
        except HubError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{member.user.username} is {member.role} in {organization.name}")
