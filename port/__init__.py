"""Write a PyTorch net as readable Paddle source: record what runs, rewrite it call by call."""
