"""Mathematics that knows no run: losses, penalties, targets, latents and the distributions that they draw from."""
