"""Commands that export a trained net and measure it."""
