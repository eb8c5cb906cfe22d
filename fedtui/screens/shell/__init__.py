"""What every screen stands on: frame, commands, prompt, navigation, terminal, the console's context."""
