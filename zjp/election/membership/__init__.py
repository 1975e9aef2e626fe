"""Who is there: the parts of SWIM that swim.py joins. Nothing in here knows of leaders."""
