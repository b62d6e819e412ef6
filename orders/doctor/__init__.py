"""`manage.py doctor`: is this installation set up so that the promises hold? One module for each area it looks at."""
