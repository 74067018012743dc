"""What MaX-DeepLab learns, and which slot is matched with which object."""
