"""What the texts of all channels share: languages, figures, and names that strangers chose."""
