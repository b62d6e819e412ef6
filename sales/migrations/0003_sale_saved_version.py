import django.core.validators
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
        ),
        migrations.AlterField(
            model_name="sale",
            name="image_url",
            field=models.CharField(
                blank=True,
                help_text="An https:// address, or a path on this site such as /static/img/demo.svg.",
                max_length=500,
                validators=[
                    django.core.validators.RegexValidator(
                        r"^(https://[^\s\"'<>\\]+|/[^/\s\"'<>\\][^\s\"'<>\\]*)\Z",
                        "Give an https:// address or a path that starts with /.",
                    )
                ],
                verbose_name="picture",
            ),
        ),
    ]
