"""Where samples come from: the one lister of trees, the formats that are images, and the account of what is met."""
