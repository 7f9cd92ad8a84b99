"""What an event moves: the chart of accounts, the amounts that events state, and the rules between."""
