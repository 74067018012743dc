"""Every tensor's move, and the account. Never loads a framework."""
