"""Several processes of one training: who is who, what they tell each other, how they end.

The launchers of the frameworks start them (torchrun, paddle.distributed.launch). A framework's own
group is `torch_ref.processes` and `paddle_impl.processes`.
"""
