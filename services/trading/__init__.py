"""What bots do and what their users command."""
