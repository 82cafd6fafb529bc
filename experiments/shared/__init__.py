"""What several experiments share: settings, the command line, claims and their oracle, code brought by users."""
