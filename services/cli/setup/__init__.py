"""The admin step: roles, schemas, migrations, topics and access."""
