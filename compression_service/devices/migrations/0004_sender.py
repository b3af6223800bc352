import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

SHIPPED = ("raspberry-pi-5", "raspberry-pi-4", "rock-5b", "intel-n100")


def give_to_first_senders(apps, schema_editor):
    """A profile which was sent is theirs who sent records there first; those of shipped targets make room again."""
    Device, Measurement = (apps.get_model("devices", name) for name in ("Device", "Measurement"))
    for device in Device.objects.filter(origin="sent"):
        if device.name in SHIPPED:
            device.profile = {}
        else:
            first = Measurement.objects.filter(device=device).order_by("pk").first()
            device.sender_id = first.sender_id if first else None
        device.save(update_fields=["profile", "sender"])


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0003_measurements'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='device',
            name='sender',
            field=models.ForeignKey(blank=True, help_text='whose profile it is', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='devices', to=settings.AUTH_USER_MODEL),
        ),
        migrations.RunPython(give_to_first_senders, migrations.RunPython.noop),
    ]
