"""Files of torch.save, today's zip and the format before 1.6, without torch."""
