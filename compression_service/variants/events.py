"""What others can listen to."""

from django.dispatch import Signal

# A repository's variants or footprints changed; sent in the transaction of the change. Arguments: repository.
catalogue_changed = Signal()
