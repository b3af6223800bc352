"""Where a page of a listing begins: after one row, in one order. Signed, so that nobody can make one up."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core import signing

from models_registry.errors import BadRequest

_REFUSAL = "This cursor is not one of this listing: begin again without it."


@dataclass(frozen=True)
class Cursor:
    """The last row of the page before: its value in the listing's order, and its id."""

    value: Any
    pk: int

    def text(self, scope: str) -> str:
        """As it stands in an address. `scope` is the listing and its order; elsewhere the cursor does not hold."""
        value = {"t": self.value.isoformat()} if isinstance(self.value, datetime) else self.value
        plain = base64.urlsafe_b64encode(json.dumps([value, self.pk]).encode()).decode().rstrip("=")
        return signing.Signer(sep=".", salt=f"listing {scope}").sign(plain)


def read_cursor(text: str, scope: str) -> Cursor:
    """Raises BadRequest for a cursor which this hub did not make for this listing."""
    try:
        plain = signing.Signer(sep=".", salt=f"listing {scope}").unsign(text)
        value, pk = json.loads(base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4)))
    except (signing.BadSignature, binascii.Error, ValueError, UnicodeError) as error:
        raise BadRequest(_REFUSAL) from error
    return Cursor(datetime.fromisoformat(value["t"]) if isinstance(value, dict) else value, pk)
