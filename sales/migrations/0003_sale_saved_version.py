from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sales", "0002_roles")]

    operations = [
        migrations.AddField(
            model_name="sale",
            name="saved_version",
            field=models.PositiveBigIntegerField(
                default=0,
                db_default=0,
                editable=False,
                help_text="Rises with each save; the ledger takes no older one after a newer one.",
            ),
        )
    ]
