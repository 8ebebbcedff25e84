"""Alerts from outside: keys, taking in, handing to the bot, following, and looking at them."""
