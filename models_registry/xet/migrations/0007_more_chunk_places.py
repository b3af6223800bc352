from django.db import migrations

from models_registry.xet.formats.answers import noted_chunks
from models_registry.xet.formats.hashes import hash_to_hex
from models_registry.xet.formats.xorb import XorbIndex


def fill(apps, schema_editor):
    """Where the chunks lie by which the hub itself finds what files share, of xorbs which are here already."""
    Xorb, ChunkPlace = apps.get_model("xet", "Xorb"), apps.get_model("xet", "ChunkPlace")
    for name, data in Xorb.objects.values_list("hash", "index").iterator():
        chunks = sorted(set(noted_chunks(XorbIndex.from_bytes(bytes(data)))))
        rows = [ChunkPlace(chunk=hash_to_hex(chunk), xorb_id=name) for chunk in chunks]
        ChunkPlace.objects.bulk_create(rows, batch_size=1000, ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [("xet", "0006_verified")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
