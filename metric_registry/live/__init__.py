"""What traffic says of definitions, held against what they claim."""
