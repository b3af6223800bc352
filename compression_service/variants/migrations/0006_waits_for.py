from django.db import migrations, models


def from_tags(apps, schema_editor):
    """Of families from before: what the tags of their cards say."""
    rows = apps.get_model("variants", "SourceModel").objects.filter(dataset="", repository__tag_rows__tag__startswith="dataset:")
    for source in rows.distinct().iterator():
        tags = source.repository.tag_rows.filter(tag__startswith="dataset:").values_list("tag", flat=True)
        source.waits_for = "".join(f"\n{tag.removeprefix('dataset:').lower()}\n" for tag in tags)
        source.save(update_fields=["waits_for"])


class Migration(migrations.Migration):

    dependencies = [
        ('variants', '0005_offered_ground'),
        ('repos', '0006_buckets'),
    ]

    operations = [
        migrations.AddField(
            model_name='sourcemodel',
            name='waits_for',
            field=models.TextField(blank=True, help_text='datasets which the card names while none is here, a line each'),
        ),
        migrations.RunPython(from_tags, migrations.RunPython.noop),
    ]
